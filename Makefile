# Everything starts from a fresh clone: each target installs what it needs, into .venv/ and (as root, on Debian) packages.

PYTHONS := $(shell .ci/pythons)
VERSIONS := $(foreach python,$(PYTHONS),$(firstword $(subst =, ,$(python))))
# The unit tests run on these, and all else on older ones, where there are any.
NEXT := 3.14 3.15
NEWEST := .venv/$(lastword $(or $(filter-out $(NEXT),$(VERSIONS)),$(VERSIONS)))
BETWEEN := $(filter-out $(NEWEST) .venv/$(firstword $(VERSIONS)) $(NEXT:%=.venv/%),$(VERSIONS:%=.venv/%))
NEXT_HERE := $(filter-out $(NEWEST),$(patsubst %,.venv/%,$(filter $(NEXT),$(VERSIONS))))
SOURCES := pyproject.toml README.md LICENSE config.example.yaml \
	$(shell find sender templates packaging -type f -not -name '*.pyc')

# The fast ones first. Those of the second kind mostly wait, so more run at once than there are processors.
UNIT := -n auto tests/unit
FILES := tests/files  # on one Python: what is tested there is the same on all
COMMAND := -n 6 tests/command
LONG := -n 6 tests/long  # in a namespace of their own: they leave thousands of sockets in TIME_WAIT, more than CLOSE is asked for
THOROUGH := -n auto --hypothesis-profile=thorough -m hypothesis tests/unit  # the same properties, with more examples
NOT_HEAVY := -m "not heavy"  # on all but the newest Python
# From one Python to the next: beside the unit tests on the oldest, alone on those between.
UNLIKE := -n 6 tests/unit/test_tls.py tests/unit/test_psk.py tests/unit/test_uplink.py \
	tests/command/test_tls.py tests/command/test_dry_run.py tests/long/test_timeouts.py
# What builds packages, runs a playbook a dozen times, or fills the machine with sockets, has a target of its own.
RPM := tests/systemd/test_rpm.py
ANSIBLE := tests/zabbix/test_ansible.py
TRIGGERS := tests/zabbix/test_own_values.py
REAL := -n 6 --dist loadgroup tests/kernel tests/disk tests/systemd --ignore $(RPM)
ZABBIX := -n 3 --dist loadfile tests/zabbix tests/browser --ignore $(ANSIBLE) --ignore $(TRIGGERS)  # a Zabbix for each of the two, and for what sets up its own
MATRIX := -n 2 --dist loadgroup tests/matrix  # a Zabbix for each version and format of the template
RELEASES := bullseye trixie zabbix/forky  # of Debian, with Zabbix 5.0 and 7.0, and a later point release of that; this machine's own has 6.0
DEB_PACKAGES := python3-venv debhelper
RPM_PACKAGES := python3-venv rpm
# What the tests run: a real PostgreSQL, zabbix_server and its web frontend, and a browser for that; both agents; a real
# systemd; ip, ss, unshare, nsenter and setpriv.
TEST_PACKAGES := $(DEB_PACKAGES) iproute2 util-linux procps e2fsprogs systemd postgresql zabbix-server-pgsql zabbix-frontend-php \
	php-cli php-pgsql php-bcmath php-gd php-mbstring php-xml zabbix-agent zabbix-agent2 chromium chromium-driver
RELEASE_PACKAGES := $(filter postgresql zabbix-server-pgsql zabbix-frontend-php php-%,$(TEST_PACKAGES))
IMAGE_PACKAGES := buildah podman crun docker-compose docker.io busybox-static
DEMO_PACKAGES := $(filter-out debhelper e2fsprogs systemd procps zabbix-agent zabbix-agent2 chromium%,$(TEST_PACKAGES))
# What the benchmark compares with.
BENCH_PACKAGES := python3-venv iproute2 util-linux net-tools mawk zabbix-agent prometheus-node-exporter
DRAIN_PACKAGES := $(filter-out debhelper zabbix-agent2 chromium%,$(TEST_PACKAGES))  # zabbix-agent brings zabbix_sender
# In a network namespace: no other program's sockets are counted.
ALONE := unshare --net sh -c 'ip link set lo up && exec "$$0" "$$@"'

unexport PYTHONDONTWRITEBYTECODE  # pytest keeps what it has compiled: seconds for each worker

.PHONY: help run demo demo-installed unit unit-next test test-installed test-matrix test-upgrade test-image test-releases test-ansible test-triggers check format template manual screenshots bench bench-libraries bench-disturbance bench-drain bench-fleet deb rpm image soak soak-faults soak-inputs soak-namespaces clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

run: .venv/run/installed ## install into a virtual environment of its own and print one sample as JSON; needs no root
	@.venv/run/bin/tcp-status-sender run --dry-run --once

demo: ## as root, on Debian 12: this machine in a real Zabbix, with trouble to look at, until Ctrl-C; PORT= of its web interface
	@.ci/packages $(DEMO_PACKAGES)
	@$(MAKE) --no-print-directory demo-installed

demo-installed: .venv/run/installed
	@.venv/run/bin/python -m demo $(if $(PORT),--port $(PORT))

unit: $(VERSIONS:%=.venv/%/unit) ## the tests that start no process and take a moment each, on every Python of this machine
	$(NEWEST)/bin/pytest -q -n auto $(FILES)

unit-next: .matrix/forky ## as root: the same on Python 3.14 and 3.15, which .matrix/ keeps (0.5 GB), from Debian's testing release
	@# Its /usr in place of this machine's, for these processes alone; all else stays as it is.
	unshare --mount sh -ec 'mount --bind .matrix/forky/usr /usr && exec "$$@"' sh \
		$(MAKE) --no-print-directory $(NEXT:%=.venv/%/unit)

test: ## install what the tests need (as root, on Debian 12) and run all of them
	@.ci/packages $(TEST_PACKAGES)
	@$(MAKE) --no-print-directory -j4 $(VERSIONS:%=.venv/%/installed)
	@$(MAKE) --no-print-directory test-installed

test-installed: $(filter-out $(NEWEST)/oldest,$(firstword $(VERSIONS:%=.venv/%/oldest))) $(BETWEEN:%=%/unlike) \
		$(NEXT_HERE:%=%/unit) $(NEWEST)/installed
	$(NEWEST)/bin/coverage erase
	$(NEWEST)/bin/coverage run $(NEWEST)/bin/pytest $(UNIT) $(FILES)
	$(NEWEST)/bin/coverage run $(NEWEST)/bin/pytest --durations=20 $(COMMAND)
	$(ALONE) $(NEWEST)/bin/coverage run $(NEWEST)/bin/pytest $(LONG)
	$(NEWEST)/bin/coverage combine --quiet
	$(NEWEST)/bin/coverage report
	$(NEWEST)/bin/pytest $(THOROUGH)
	$(NEWEST)/bin/pytest $(REAL)
	$(NEWEST)/bin/pytest $(ZABBIX)

test-matrix: $(NEWEST)/installed $(RELEASES:%=.matrix/%) .matrix/zabbix-proxy ## as root: the template and the daemon with Zabbix 5.0, 6.0 and 7.0; .matrix/ keeps them (2.4 GB)
	@.ci/packages $(TEST_PACKAGES)
	$(NEWEST)/bin/pytest $(MATRIX)

test-upgrade: $(NEWEST)/installed ## as root: from what was before 1.0.0, built from this repository's history, beside a real Zabbix
	@.ci/packages $(TEST_PACKAGES)
	$(NEWEST)/bin/pytest tests/upgrade

test-image: $(NEWEST)/installed .matrix/image/trixie ## as root: the container image, built and run beside a real Zabbix; .matrix/ keeps its base (0.3 GB)
	@.ci/packages $(TEST_PACKAGES) $(IMAGE_PACKAGES)
	$(NEWEST)/bin/pytest tests/image

test-releases: $(NEWEST)/installed .matrix/release/trixie ## as root: each package on the Python of its release; .matrix/ keeps a Debian 13 (0.3 GB)
	@.ci/packages $(TEST_PACKAGES) $(RPM_PACKAGES) rpmlint
	$(NEWEST)/bin/pytest tests/releases $(RPM)

test-ansible: $(NEWEST)/installed ## as root: the Ansible role, against a machine with a systemd and a real Zabbix
	@.ci/packages $(TEST_PACKAGES) ansible-core python3-apt  # and what it needs of a host to install a Debian package
	$(NEWEST)/bin/pytest $(ANSIBLE)

test-triggers: $(NEWEST)/installed ## as root: each trigger fires and ends, on values that daemons themselves have sent to a real Zabbix
	@.ci/packages $(TEST_PACKAGES) user-mode-linux  # a kernel of its own, as a process
	$(NEWEST)/bin/pytest $(TRIGGERS)

check: $(NEWEST)/installed ## format, lint, types, stale files; changes nothing
	$(NEWEST)/bin/ruff format --check
	$(NEWEST)/bin/ruff check
	$(NEWEST)/bin/mypy sender templates packaging lab tests bench demo
	$(NEWEST)/bin/python -m templates --check
	$(NEWEST)/bin/python packaging/manual.py --check
	$(NEWEST)/bin/pytest -q tests/files/test_architecture.py

format: $(NEWEST)/installed ## bring the code into its format
	$(NEWEST)/bin/ruff format
	$(NEWEST)/bin/ruff check --fix

template: $(NEWEST)/installed ## write the template in each format, and its pages, anew
	$(NEWEST)/bin/python -m templates

manual: $(NEWEST)/installed ## write the manual page, packaging/tcp-status-sender.1, anew
	$(NEWEST)/bin/python packaging/manual.py

screenshots: $(NEWEST)/installed .matrix/trixie ## as root: take the pictures in docs/images anew, from real Zabbixes in a real browser
	@.ci/packages $(TEST_PACKAGES)
	$(NEWEST)/bin/pytest tests/browser --screenshots docs/images
	$(NEWEST)/bin/pytest tests/matrix/test_boards.py -k trixie --screenshots docs/images

bench: $(NEWEST)/installed ## as root: compare with what it replaces, and fail where a target is missed; SOCKETS=1000000 for more than 100,000
	@.ci/packages $(BENCH_PACKAGES)
	$(NEWEST)/bin/python -m bench $(if $(SOCKETS),--sockets $(SOCKETS))

deb: ## build the Debian package into dist/, for this machine's release or FOR=; as root, where debhelper is missing
	@.ci/packages $(DEB_PACKAGES)
	packaging/debian/build dist $(FOR)

rpm: ## build the RPM for Enterprise Linux into dist/, for its Python 3.12 or PYTHON=; as root, where rpm is missing
	@.ci/packages $(RPM_PACKAGES)
	packaging/rpm/build dist $(PYTHON)

image: ## as root: build the container image with buildah, from python:3.13-slim or from BASE=
	@.ci/packages buildah
	packaging/container/build localhost/tcp-status-sender $(BASE)

soak: $(NEWEST)/installed ## as root: a healthy host beside a real Zabbix for 15 minutes, or MINUTES=; no trigger may fire
	@.ci/packages $(TEST_PACKAGES)
	$(ALONE) $(NEWEST)/bin/pytest tests/soak/test_healthy_host.py

soak-faults: $(NEWEST)/installed ## as root: random faults around a sample every second for an hour, or MINUTES=; SEED= repeats a run
	@.ci/packages $(TEST_PACKAGES)
	$(ALONE) $(NEWEST)/bin/pytest -s tests/soak/test_faults.py

soak-inputs: $(NEWEST)/installed ## as root: trouble made for real raises its problem at a real Zabbix, and ends it; half an hour
	@.ci/packages $(TEST_PACKAGES)
	$(NEWEST)/bin/pytest -s tests/soak/test_inputs.py

soak-namespaces: $(NEWEST)/installed ## as root: 200 network namespaces come and go beside a sample every second for 5 minutes, or MINUTES=
	@.ci/packages iproute2 util-linux
	$(NEWEST)/bin/pytest -s tests/soak/test_many_namespaces.py

bench-disturbance: $(NEWEST)/installed ## as root: how long connect() takes while the sockets are counted; CONNECTIONS= for more than 88,000
	@.ci/packages python3-venv iproute2 util-linux
	$(NEWEST)/bin/python -m bench.disturbance $(if $(CONNECTIONS),--connections $(CONNECTIONS))

bench-libraries: $(NEWEST)/installed ## what the libraries cost the daemon in memory and start-up time
	@$(NEWEST)/bin/python -m bench.libraries

bench-drain: $(NEWEST)/installed ## as root: drain a backlog into a real Zabbix, beside zabbix_sender
	@.ci/packages $(DRAIN_PACKAGES)
	$(NEWEST)/bin/python -m bench.drain

bench-fleet: $(NEWEST)/installed ## as root: 2,000 hosts report to one real Zabbix for 10 minutes; HOSTS=, MINUTES=, INTERVAL=
	@.ci/packages $(DRAIN_PACKAGES)
	$(NEWEST)/bin/python -m bench.fleet $(if $(HOSTS),--hosts $(HOSTS)) \
		$(if $(MINUTES),--minutes $(MINUTES)) $(if $(INTERVAL),--interval $(INTERVAL))

clean: ## remove what the targets made
	rm -rf .venv .matrix dist .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache

.matrix/zabbix-proxy:
	.ci/zabbix-proxy $@

.matrix/forky:
	@.ci/packages debootstrap
	.ci/debian-root $@ $(NEXT:%=python%-venv) make ca-certificates

.matrix/image/trixie:
	@.ci/packages debootstrap
	.ci/debian-root $@ python3-venv ca-certificates

.matrix/release/trixie:
	@.ci/packages debootstrap
	.ci/debian-root $@ python3 systemd

.matrix/%:
	@.ci/packages debootstrap
	.ci/debian-root $@ $(RELEASE_PACKAGES)

.PHONY: $(VERSIONS:%=.venv/%/unit)
$(VERSIONS:%=.venv/%/unit): .venv/%/unit: .venv/%/installed
	.venv/$*/bin/pytest -q --durations=5 --durations-min=0.5 $(UNIT)

.PHONY: $(VERSIONS:%=.venv/%/oldest)
$(VERSIONS:%=.venv/%/oldest): .venv/%/oldest: .venv/%/installed
	.venv/$*/bin/pytest -q $(NOT_HEAVY) $(UNIT)
	.venv/$*/bin/pytest -q $(NOT_HEAVY) $(filter-out tests/unit/%,$(UNLIKE))

.PHONY: $(BETWEEN:%=%/unlike)
$(BETWEEN:%=%/unlike): .venv/%/unlike: .venv/%/installed
	.venv/$*/bin/pytest -q $(NOT_HEAVY) $(UNLIKE)

# pip builds the wheel and installs that; what runs and what is tested is never the checkout.
.venv/run/installed: $(SOURCES)
	@$(call make_venv,$(NEWEST:.venv/%=%))
	@.venv/run/bin/python -m pip install -qq .
	@touch $@

.venv/%/installed: $(SOURCES)
	@$(call make_venv,$*)
	.venv/$*/bin/python -m pip install -qq . --group test $(if $(filter $(NEWEST),.venv/$*),--group browser --group lint)
	@# lab/ and the like, behind the installed wheel: `sender` is never the checkout's.
	@echo $(CURDIR) > $$(.venv/$*/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/checkout.pth
	@touch $@

define make_venv
	test -n "$(1)" || { echo "no Python from 3.10 up that can make virtual environments; on Debian: apt-get install \
	python3-venv" >&2; exit 1; }; \
	echo "installing into $(@D)" >&2; \
	$(patsubst $(1)=%,%,$(filter $(1)=%,$(PYTHONS))) -m venv $(@D) && \
	$(@D)/bin/python -m pip install -qq --upgrade 'pip>=25.1'  # the first with --group
endef
