/* Enough of partition tables, FAT and ext2/3/4 to tell what a disk image boots, read-only. Images are
 * hostile input: every number is checked against the image's size before it is used. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk {
    int fd;
    uint64_t size; /* bytes */
};

struct partition {
    unsigned number;      /* as Linux counts: 1...; 0: the whole disk is one file system */
    uint64_t start, size; /* bytes */
    bool is_esp;
};
enum { DISK_MAX_PARTITIONS = 128 };
/* The partitions in the order of the table; a disk without one is one partition, number 0. */
unsigned disk_partitions(const struct disk *d, struct partition *out);

struct fs {
    const struct disk *disk;
    uint64_t start, size; /* of the partition, bytes */
    enum { FS_FAT, FS_EXT } kind;
    union {
        struct {
            uint32_t cluster_bytes, n_clusters, root_cluster, fat_bits, root_entries;
            uint64_t fat_at, root_at, data_at; /* from the partition's start */
        } fat;
        struct {
            uint32_t block_bytes, inodes_per_group, inode_bytes, n_inodes, descriptor_bytes;
            uint64_t n_blocks, descriptors_at;
        } ext;
    };
};
struct fs_node {
    bool is_dir;
    uint64_t size;
    uint32_t first; /* FAT: first cluster, 0 the root; ext: inode number */
    bool in_root_area;
};
/* False: no file system that this file knows. */
bool fs_open(struct fs *fs, const struct disk *d, const struct partition *p);
/* Find "a/b/c" from the root; symbolic links are followed (ext), case is ignored (FAT). */
bool fs_find(const struct fs *fs, const char *path, struct fs_node *out);
/* Bytes read, less than n only at the end; -1 if the file system is damaged. */
int64_t fs_read(const struct fs *fs, const struct fs_node *node, uint64_t off, void *buf, size_t n);
/* Visit a directory's entries until `visit` returns false. */
void fs_list(const struct fs *fs, const struct fs_node *dir,
             bool (*visit)(void *opaque, const char *name, const struct fs_node *node),
             void *opaque);
