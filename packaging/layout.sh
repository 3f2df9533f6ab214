# What the Debian package and the RPM have in common. Their build scripts source this file, in the repository's folder.
name=tcp-status-sender
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' sender/__init__.py)
maintainer=$(sed -n 's/^Maintainer: //p' packaging/debian/control)
machine=$(uname -m)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# lay_out ROOT PYTHON: put all that a package installs where it belongs below ROOT, for the distribution's PYTHON, such as 3.12.
# This machine need not have that Python, as nothing is compiled here.
lay_out() {
    root=$1 python=$2
    home=$root/usr/lib/$name
    libraries=$home/lib/python$python/site-packages
    mkdir -p "$home/bin" "$root/usr/bin" "$root/etc/$name" "$root/usr/share/man/man1" \
        "$root/usr/lib/systemd/system" "$root/usr/lib/sysusers.d"

    # The wheels of the libraries suit glibc 2.28, which Enterprise Linux 8 has, and whatever is newer.
    /usr/bin/python3 -m venv "$scratch/pip"
    "$scratch/pip/bin/pip" install --quiet --disable-pip-version-check --no-compile --target "$libraries" \
        --python-version "$python" --implementation cp --only-binary :all: \
        --platform "manylinux_2_28_$machine" --platform "manylinux2014_$machine" . || {
        echo "no package was built: pip does not get every library as a wheel for Python $python on $machine; why, it says" \
            "above. Where no wheels are published, install with pip: docs/installing.md" >&2
        return 1
    }

    # A virtual environment: PEP 405 needs only these two lines and a link. pip's notes of what it installed, and from
    # where, are removed: the package manager keeps its own.
    printf 'home = /usr/bin\ninclude-system-site-packages = false\n' > "$home/pyvenv.cfg"
    ln -s "/usr/bin/python$python" "$home/bin/python"
    # -I: ignore the caller's PYTHONPATH
    sed "1s|.*|#!/usr/lib/$name/bin/python -I|" "$libraries/bin/$name" > "$home/bin/$name"
    chmod 755 "$home/bin/$name"
    ln -s "../lib/$name/bin/$name" "$root/usr/bin/$name"
    (cd "$libraries" && rm -f ./*.dist-info/INSTALLER ./*.dist-info/RECORD ./*.dist-info/REQUESTED ./*.dist-info/direct_url.json)

    # What the wheel brings along moves to the distribution's places, and the unit starts the command from there.
    shared=$libraries/share
    mv "$shared/$name/config.example.yaml" "$root/etc/$name/config.yaml"
    mv "$shared/man/man1/$name.1" "$root/usr/share/man/man1"
    for unit in "$name.service" "$name-namespaces.service" "$name-namespaces.socket"; do
        sed 's|^ExecStart=/usr/local/bin/|ExecStart=/usr/bin/|' "$shared/$name/$unit" > "$root/usr/lib/systemd/system/$unit"
    done
    cp "packaging/$name.sysusers" "$root/usr/lib/sysusers.d/$name.conf"
    rm -r "$shared" "$libraries/bin"
}
