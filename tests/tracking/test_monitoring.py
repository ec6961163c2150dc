"""A monitoring that was killed is ended by the next one."""

import pandas as pd
from mlflow.tracking import MlflowClient

from crmml.atomic import owner
from crmml.scorecard.alarms import COLUMNS
from crmml.scorecard.monitor import Monitoring
from crmml.tracking.monitoring import KIND, log_monitoring
from crmml.tracking.runs import start
from crmml.tracking.unfinished import OWNER


def test_a_killed_monitoring_is_ended_by_the_next(tmp_path, fresh_mlflow):
    home = start(fresh_mlflow(tmp_path), "watch")
    client, dead = MlflowClient(home.uri), owner().rpartition("-")[0] + "-999999999"
    tags = {KIND: "monitoring", OWNER: dead}
    killed = client.create_run(home.id, tags=tags).info.run_id
    mine = client.create_run(home.id, tags=tags | {OWNER: owner()}).info.run_id
    none = pd.DataFrame()
    found = Monitoring(none, none, none, pd.DataFrame(columns=[*COLUMNS]), {}, (), 0.05)
    run = log_monitoring(found, home, name="shop", params={})
    states = [client.get_run(one) for one in (killed, mine, run)]
    assert [state.info.status for state in states] == ["KILLED", "RUNNING", "FINISHED"]
    assert [OWNER in state.data.tags for state in states] == [False, True, False]
