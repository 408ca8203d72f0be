//! Where the things that people put on drives leave their names.
//!
//! Sources: util-linux libblkid/src/superblocks and src/partitions; the kernel's headers of each
//! file system; OpenZFS vdev_impl.h; Ceph BlueStore `bluestore block device`; cryptsetup
//! docs/on-disk-format-luks2.

/// A name in a place.
pub(super) struct Signature {
    /// What leaves it.
    pub(super) what: &'static str,
    /// Byte of the drive; negative from the end.
    pub(super) at: i64,
    /// The bytes there.
    pub(super) bytes: &'static [u8],
}

const fn sign(what: &'static str, at: i64, bytes: &'static [u8]) -> Signature {
    Signature { what, at, bytes }
}

/// All that are known. What is not among them is found by the drive not being blank.
pub(super) const SIGNATURES: &[Signature] = &[
    // Partition tables.
    sign("a GPT partition table", 512, b"EFI PART"),
    sign("a GPT partition table", 4096, b"EFI PART"),
    sign("a backup of a GPT partition table", -512, b"EFI PART"),
    sign("a backup of a GPT partition table", -4096, b"EFI PART"),
    sign("an MBR partition table or boot sector", 510, &[0x55, 0xaa]),
    sign("an Apple partition map", 512, b"PM\0\0"),
    sign("a Sun disk label", 508, &[0xda, 0xbe]),
    sign("a BSD disk label", 512, &[0x57, 0x45, 0x56, 0x82]),
    // File systems.
    sign("an ext2, ext3 or ext4 file system", 1080, &[0x53, 0xef]),
    sign("an XFS file system", 0, b"XFSB"),
    sign("a Btrfs file system", 0x1_0040, b"_BHRfS_M"),
    sign("an F2FS file system", 1024, &[0x10, 0x20, 0xf5, 0xf2]),
    sign("an NTFS file system", 3, b"NTFS    "),
    sign("a FAT file system", 54, b"FAT1"),
    sign("a FAT file system", 82, b"FAT32"),
    sign("an exFAT file system", 3, b"EXFAT   "),
    sign("a ReFS file system", 3, b"ReFS\0"),
    sign("an APFS container", 32, b"NXSB"),
    sign("an HFS+ file system", 1024, b"H+\0\x04"),
    sign("a ReiserFS file system", 0x1_0034, b"ReIsEr"),
    sign("a JFS file system", 0x8000, b"JFS1"),
    sign("a GFS2 file system", 0x1_0000, &[0x01, 0x16, 0x19, 0x70]),
    sign("an OCFS2 file system", 4096, b"OCFSV2"),
    sign("an OCFS2 file system", 8192, b"OCFSV2"),
    sign("a NILFS2 file system", 1030, &[0x34, 0x34]),
    sign("a SquashFS image", 0, b"hsqs"),
    sign("an EROFS image", 1024, &[0xe2, 0xe1, 0xf5, 0xe0]),
    sign("an ISO 9660 image", 0x8001, b"CD001"),
    sign("a VMFS volume", 0x10_0000, &[0x0d, 0xd0, 0x01, 0xc0]),
    sign("a VMFS volume", 0x20_0000, &[0x5e, 0xf1, 0xab, 0x2f]),
    sign("swap space", 4086, b"SWAPSPACE2"),
    sign("swap space", 4086, b"SWAP-SPACE"),
    sign("swap space", 65_526, b"SWAPSPACE2"),
    // Volume managers and RAID.
    sign("an LVM physical volume", 512, b"LABELONE"),
    sign("an LVM physical volume", 0, b"LABELONE"),
    sign("an LVM physical volume", 1024, b"LABELONE"),
    sign("an LVM physical volume", 1536, b"LABELONE"),
    sign("a member of a Linux RAID", 0, &[0xfc, 0x4e, 0x2b, 0xa9]),
    sign("a member of a Linux RAID", 4096, &[0xfc, 0x4e, 0x2b, 0xa9]),
    sign(
        "a member of an Intel RAID",
        -1024,
        b"Intel Raid ISM Cfg Sig.",
    ),
    sign("a member of a DDF RAID", -512, &[0xde, 0x11, 0xde, 0x11]),
    sign("a member of a DDF RAID", -512, &[0x11, 0xde, 0x11, 0xde]),
    sign(
        "a member of a Promise RAID",
        -32_256,
        b"Promise Technology, Inc.",
    ),
    sign(
        "a bcache device",
        4120,
        &[0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca],
    ),
    sign(
        "a bcachefs file system",
        4120,
        &[0xc6, 0x85, 0x73, 0xf6, 0x66, 0xce, 0x90, 0xa9],
    ),
    sign("a VDO volume", 0, b"dmvdo001"),
    sign("a Stratis pool", 516, b"!Stra0tis"),
    sign("a Stratis pool", 4612, b"!Stra0tis"),
    sign("a VxVM disk", 0x2_0000, b"PRIV"),
    sign("a DRBD device", -4096 + 60, &[0x83, 0x74, 0x02, 0x6b]),
    sign("an Oracle ASM disk", 32, b"ORCLDISK"),
    sign("a Ceph BlueStore OSD", 0, b"bluestore block device"),
    sign("Windows Storage Spaces", 4096, b"SPACEDB "),
    // Encryption.
    sign("a LUKS container", 0, b"LUKS\xba\xbe"),
    sign(
        "the second header of a LUKS2 container",
        0x4000,
        b"SKUL\xba\xbe",
    ),
    sign(
        "the second header of a LUKS2 container",
        0x8000,
        b"SKUL\xba\xbe",
    ),
    sign(
        "the second header of a LUKS2 container",
        0x40_0000,
        b"SKUL\xba\xbe",
    ),
    sign("a BitLocker volume", 3, b"-FVE-FS-"),
];
