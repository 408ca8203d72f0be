#!/bin/sh
# Makes of a fresh Debian what the booted tests want; the image's builder runs it inside (chroot),
# once. Emulated machines are slow: what no test asks for is not there, and does not start.
# $1: kernel modules to keep, besides what they need themselves.
set -eu
kernel=$(ls /lib/modules)

# Files of modules and of what they need, in the order in which they load.
files() {
    for module in "$@"; do
        modprobe --set-version "$kernel" --show-depends "$module" >/tmp/depends
        sed -n 's/^insmod \([^ ]*\).*/\1/p' /tmp/depends
    done | awk '!seen[$0]++'
}

# An initial file system that does nothing but find the disk.
start=/tmp/start
mkdir -p $start/bin $start/dev $start/root $start/modules
cp /bin/busybox $start/bin/
files crc32c_generic virtio_pci virtio_blk ext4 >/tmp/order
while read -r file; do
    cp "$file" $start/modules/
    basename "$file" >>$start/order
done </tmp/order
cat >$start/init <<'END'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
while read -r module; do /bin/busybox insmod "/modules/$module"; done </order
/bin/busybox mount -t ext4 -o rw /dev/vda /root || exec /bin/busybox sh
/bin/busybox mount -o move /dev /root/dev
exec /bin/busybox switch_root /root /lib/systemd/systemd
END
chmod 755 $start/init
(cd $start && find . | busybox cpio -o -H newc) >/boot/start.img
rm -rf /boot/initrd*
mv /boot/vmlinuz-* /boot/vmlinuz

# Fewer modules: udev finds no drivers for what nobody tests.
# shellcheck disable=SC2086
files $1 >/tmp/keep
find "/lib/modules/$kernel/kernel" -name '*.ko' | grep -vxF -f /tmp/keep | xargs rm
depmod "$kernel"
rm -r $start /tmp/keep /tmp/order /tmp/depends

systemctl mask --quiet \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer systemd-tmpfiles-clean.timer \
    getty@tty1.service serial-getty@ttyS0.service systemd-firstboot.service \
    systemd-repart.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount \
    systemd-pstore.service systemd-pcrphase.service systemd-pcrphase-sysinit.service \
    systemd-update-utmp.service systemd-update-utmp-runlevel.service \
    systemd-networkd-wait-online.service sys-fs-fuse-connections.mount dev-hugepages.mount \
    dev-mqueue.mount
systemctl enable --quiet systemd-networkd.service ssh.service

# QEMU's user network: 10.0.2.2 is the host's loopback.
cat >/etc/systemd/network/10-host.network <<'END'
[Match]
PermanentMACAddress=52:54:00:00:00:0f

[Network]
Address=10.0.2.15/24
Gateway=10.0.2.2
LinkLocalAddressing=no
END

# The directory that the host shares.
mkdir -p /host
echo 'host /host 9p trans=virtio,version=9p2000.L,ro,msize=262144,nofail 0 0' >>/etc/fstab

mkdir -p /var/log/journal /etc/systemd/journald.conf.d
printf '[Journal]\nStorage=persistent\nSystemMaxUse=64M\n' >/etc/systemd/journald.conf.d/machine.conf

echo machine >/etc/hostname
: >/etc/machine-id
ssh-keygen -A
rm -rf /usr/share/doc /usr/share/man /usr/share/locale /var/lib/apt/lists/* /var/cache/apt/*
