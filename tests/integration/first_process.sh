# systemd as the first process of a machine of its own: in namespaces, on an overlay of this machine's root.
# What happens in there stays there, but for /out.
#   first_process.sh FOLDER SOURCE PYTHON PACKAGES [COMMAND…]     COMMAND instead of systemd
# FOLDER has units/ and out/. The other three are seen as /opt/source, /opt/python and /opt/packages.
set -e

if [ -z "$INSIDE" ]; then
  # A control group of its own, which is taken away again.
  mounted=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
  above=$mounted$(sed -n 's/^0:://p' /proc/self/cgroup)
  group=$above/crmsync-test-$$
  mkdir "$group"
  echo $$ > "$group/cgroup.procs"
  code=0
  INSIDE=yes unshare -pfmuinC --kill-child bash "$0" "$@" || code=$?
  echo $$ > "$above/cgroup.procs"
  find "$group" -depth -type d -exec rmdir {} +
  exit $code
fi

folder=$1 source=$2 python=$3 packages=$4
shift 4
mount --make-rprivate /
mkdir "$folder/overlay"
mount -t tmpfs tmpfs "$folder/overlay"
root=$folder/overlay/root
mkdir "$folder/overlay/upper" "$folder/overlay/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/overlay/upper,workdir=$folder/overlay/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount --rbind /dev "$root/dev"
for place in run tmp; do mount -t tmpfs tmpfs "$root/$place"; done
rm -rf "$root"/etc/systemd/system/*.wants
mkdir -p "$root/opt/source" "$root/opt/python" "$root/opt/packages" "$root/out"
mount --bind "$source" "$root/opt/source"
mount --bind "$python" "$root/opt/python"
mount --bind "$packages" "$root/opt/packages"
mount --bind "$folder/out" "$root/out"
cp "$folder"/units/* "$root/etc/systemd/system/"
ip link set lo up
cd "$root"
mkdir -p before
pivot_root . before
umount -l /before
mount --make-rshared /
[ $# -gt 0 ] && exec "$@"
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system --unit=trial.target --log-target=console --show-status=no
