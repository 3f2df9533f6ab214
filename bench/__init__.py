"""The benchmark: what a sample costs, against the kernel's own floor and against what people count sockets with today.

`make bench`, as root, with iproute2, net-tools, zabbix-agent, prometheus-node-exporter and an awk installed; it fails when
a target of targets.py is missed.
`make bench-libraries`: what the libraries cost the daemon in memory and start-up time; needs neither root nor packages.
`make bench-drain`: how fast a backlog gets into a real Zabbix server, against zabbix_sender.
`make bench-fleet`: what 2,000 hosts at once are for a real Zabbix server, and what each of them costs its host.
"""
