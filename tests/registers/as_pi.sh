# as_pi.sh FOLDER COMMAND...: run a command on a machine that looks like a Raspberry Pi 4 with a HAT.
#
# Runs as root in a mount namespace of its own (`unshare -m`). Replaces /dev, /proc, /sys and /run for this process and
# its children: /dev has no device but the harmless ones and FOLDER/gpiomem; /proc is the kernel's but for the processes'
# folders (only self), `cpuinfo` and `device-tree`; /sys is empty. So nothing here can reach the machine's own pins.
set -eu
folder=$1
shift
mount --make-rprivate /

mount -t tmpfs -o mode=755 none "$folder/dev"
for name in null zero full random urandom; do
    : >"$folder/dev/$name"
    mount --bind "/dev/$name" "$folder/dev/$name"
done
mkdir -m 1777 "$folder/dev/shm"
ln -s /proc/self/fd "$folder/dev/fd"
: >"$folder/dev/gpiomem"
mount --bind "$folder/gpiomem" "$folder/dev/gpiomem"

mount -t tmpfs -o mode=755 none "$folder/proc"
mkdir "$folder/proc/.kernel"
mount --rbind /proc "$folder/proc/.kernel"
for path in /proc/[a-z]*; do
    name=${path#/proc/}
    case $name in cpuinfo | device-tree) ;; *) ln -s ".kernel/$name" "$folder/proc/$name" ;; esac
done
cp "$folder/cpuinfo" "$folder/proc/cpuinfo"
cp -R "$folder/device-tree" "$folder/proc/device-tree"

mount -t tmpfs -o ro none /sys
mount --bind "$folder/run" /run
mount --rbind "$folder/dev" /dev
mount --rbind "$folder/proc" /proc
export PYTHONPATH="$RPI_GPIO${PYTHONPATH:+:$PYTHONPATH}" LD_PRELOAD="$RPI_GPIO/pads.so"
exec "$@"
