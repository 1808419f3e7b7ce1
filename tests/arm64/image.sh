#!/usr/bin/env bash
# Makes a small arm64 machine: a disk with Debian, Python and sshd, its kernel and initrd, and the key to log in with.
#
#     image.sh FOLDER ADDRESS
#
# It takes 2 to 7 minutes and 500 MB, once. It needs root, and a kernel that runs arm64 programs through qemu-user
# (binfmt_misc), since Debian's packages set themselves up by running. DEBIAN_MIRROR names another mirror.
set -euo pipefail
folder=$1 address=$2 mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
binfmt=/proc/sys/fs/binfmt_misc
[ -e $binfmt/register ] || mount -t binfmt_misc binfmt_misc $binfmt
[ -e $binfmt/qemu-aarch64 ] || cat /usr/lib/binfmt.d/qemu-aarch64.conf > $binfmt/register

part=$folder.part
rm -rf "$part"
mkdir -p "$part"/{made,initrd/modules,initrd/proc,initrd/dev,initrd/root}
cd "$part"

# Debian 12 has Python 3.11 and glibc 2.36. No venv, pip or packages of Python: the testbed brings them.
mmdebstrap --quiet --arch=arm64 --variant=apt --include=python3,openssh-server,iproute2,mount bookworm root \
    "deb $mirror bookworm main"

# The kernel is unpacked and not installed, which would set up an initrd of its own for minutes.
kernel=$(chroot root sh -c 'apt-get update -qq && apt-cache depends linux-image-arm64' |
    sed -n 's/.*Depends: \(linux-image-[0-9][^ ]*\)/\1/p' | head -n 1)
chroot root sh -c "cd /tmp && apt-get download -qq $kernel busybox-static"
dpkg-deb -x root/tmp/linux-image-*.deb kernel
dpkg-deb -x root/tmp/busybox-static*.deb busybox
rm -rf root/tmp/*.deb root/var/lib/apt/lists/*
version=$(ls kernel/lib/modules)
depmod -b kernel "$version"

# The initrd loads what the emulated machine's disk and network need, and hands over to the disk.
number=10
modprobe -d "$PWD/kernel" -S "$version" --show-depends -a virtio_pci virtio_blk virtio_net virtio-rng ext4 crc32c_generic |
    sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' | while read -r module; do
    cp "$module" "initrd/modules/$number-$(basename "$module")"
    number=$((number + 1))
done
cp busybox/bin/busybox initrd/
cat > initrd/init <<'END'
#!/busybox sh
b=/busybox
$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev
for module in /modules/*; do $b insmod "$module"; done
until [ -b /dev/vda ]; do $b sleep 0.1; done
$b mount -t ext4 /dev/vda /root && exec $b switch_root /root /sbin/node-init
END
cat > root/sbin/node-init <<END
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm; mount -t devpts pts /dev/pts
for folder in /dev/shm /run /tmp; do mount -t tmpfs tmpfs \$folder; done
chmod 1777 /dev/shm /tmp
mkdir -p /run/sshd; mkdir -m 1777 /run/lock
hostname arm64
ip link set lo up; ip addr add $address/24 dev eth0; ip link set eth0 up
/usr/sbin/sshd -D -e -o UsePAM=no &
while :; do sleep 1000; done
END
chmod +x initrd/init root/sbin/node-init
(cd initrd && find . | cpio --quiet -o -H newc | gzip) > made/initrd.gz
cp kernel/boot/vmlinuz-* made/vmlinuz

# A password of `*` is none, and yet not a locked account, which sshd would refuse.
chroot root useradd --create-home --shell /bin/bash --password '*' lab
ssh-keygen -q -t ed25519 -N '' -f made/id
install -D -m 600 made/id.pub root/home/lab/.ssh/authorized_keys
chroot root chown -R lab: /home/lab
cp root/etc/ssh/ssh_host_ed25519_key.pub made/host.pub
truncate -s 2G made/board.img
mke2fs -q -t ext4 -d root made/board.img

# Whole or not there at all.
mkdir -p "$folder"
mv made/vmlinuz made/initrd.gz made/id made/id.pub made/host.pub "$folder"
mv made/board.img "$folder"
rm -rf "$part"
