"""The dashboards: what they ask and show (`payments`, `superapp`), said in the words of `plan`.

`grafana` makes of a plan what Grafana reads; `drawing` makes a picture of that and of Prometheus's
answers. `asking` fills in what Grafana would.
"""
