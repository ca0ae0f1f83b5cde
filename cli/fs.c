#include "cli/fs.h"

#include "core/util.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

static bool disk_read(const struct disk *d, uint64_t off, void *buf, size_t n)
{
    if (off > d->size || n > d->size - off)
        return false;
    return pread(d->fd, buf, n, (off_t)off) == (ssize_t)n;
}

/* ---- partition tables: MBR, and GPT (UEFI 2.10, 5.3) ----------------------------------------- */
static const uint8_t esp_type[16] = { 0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11,
                                      0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b };

static bool partition_fits(const struct disk *d, const struct partition *p)
{
    return p->size && p->start < d->size && p->size <= d->size - p->start;
}

static unsigned gpt_partitions(const struct disk *d, struct partition *out)
{
    uint8_t header[512], entry[128];
    unsigned n = 0;
    if (!disk_read(d, 512, header, sizeof(header)) || memcmp(header, "EFI PART", 8))
        return 0;
    uint64_t at = load_le(header + 72, 8);
    uint64_t count = load_le(header + 80, 4), bytes = load_le(header + 84, 4);
    if (at > d->size / 512 || bytes < sizeof(entry) || bytes > 4096)
        return 0;
    for (unsigned i = 0; i < MIN(count, DISK_MAX_PARTITIONS); i++) {
        static const uint8_t unused[16];
        if (!disk_read(d, at * 512 + i * bytes, entry, sizeof(entry)))
            break;
        uint64_t first = load_le(entry + 32, 8), last = load_le(entry + 40, 8);
        if (!memcmp(entry, unused, 16) || first > last || last > d->size / 512)
            continue;
        struct partition p = { i + 1, first * 512, (last - first + 1) * 512,
                               !memcmp(entry, esp_type, 16) };
        if (partition_fits(d, &p))
            out[n++] = p;
    }
    return n;
}

unsigned disk_partitions(const struct disk *d, struct partition *out)
{
    uint8_t sector[512];
    unsigned n = 0;
    struct partition whole = { 0, 0, d->size, false };
    struct fs fs;
    out[0] = whole;
    if (fs_open(&fs, d, &whole) || !disk_read(d, 0, sector, sizeof(sector)) ||
        load_le(sector + 510, 2) != 0xaa55)
        return 1;
    if ((n = gpt_partitions(d, out)))
        return n;
    for (unsigned i = 0; i < 4; i++) {
        const uint8_t *e = sector + 446 + i * 16;
        struct partition p = { i + 1, load_le(e + 8, 4) * 512, load_le(e + 12, 4) * 512,
                               e[4] == 0xef };
        if (e[4] && partition_fits(d, &p))
            out[n++] = p;
    }
    return n;
}

/* ---- FAT (Microsoft's FAT specification, 1.03) ------------------------------------------------ */
static bool fs_bytes(const struct fs *fs, uint64_t off, void *buf, size_t n)
{
    if (off > fs->size || n > fs->size - off)
        return false;
    return disk_read(fs->disk, fs->start + off, buf, n);
}

static bool is_power_of_two(uint64_t v)
{
    return v && !(v & (v - 1));
}

static bool fat_open(struct fs *fs)
{
    uint8_t b[512];
    if (!fs_bytes(fs, 0, b, sizeof(b)) || load_le(b + 510, 2) != 0xaa55)
        return false;
    uint64_t sector = load_le(b + 11, 2), per_cluster = b[13], reserved = load_le(b + 14, 2);
    uint64_t fats = b[16], root_entries = load_le(b + 17, 2);
    uint64_t total = load_le(b + 19, 2), fat_sectors = load_le(b + 22, 2);
    if (!is_power_of_two(sector) || sector < 512 || sector > 4096 ||
        !is_power_of_two(per_cluster) || !reserved || !fats || fats > 2)
        return false;
    total = total ? total : load_le(b + 32, 4);
    fat_sectors = fat_sectors ? fat_sectors : load_le(b + 36, 4);
    uint64_t root_sectors = (root_entries * 32 + sector - 1) / sector;
    uint64_t data = reserved + fats * fat_sectors + root_sectors;
    if (!fat_sectors || data >= total)
        return false;
    uint64_t n = (total - data) / per_cluster;
    fs->kind = FS_FAT;
    fs->fat.cluster_bytes = (uint32_t)(per_cluster * sector);
    fs->fat.n_clusters = (uint32_t)MIN(n, 0x0fffffff);
    fs->fat.fat_bits = n < 4085 ? 12 : n < 65525 ? 16 : 32;
    fs->fat.root_entries = (uint32_t)root_entries;
    fs->fat.fat_at = reserved * sector;
    fs->fat.root_at = (reserved + fats * fat_sectors) * sector;
    fs->fat.data_at = data * sector;
    fs->fat.root_cluster = (uint32_t)load_le(b + 44, 4);
    return true;
}

/* The cluster after `c`, 0 at the end of the chain or when it is damaged. */
static uint32_t fat_next(const struct fs *fs, uint32_t c)
{
    uint8_t b[4] = { 0 };
    unsigned bits = fs->fat.fat_bits;
    if (!fs_bytes(fs, fs->fat.fat_at + (uint64_t)c * bits / 8, b, bits == 32 ? 4 : 2))
        return 0;
    uint32_t next = (uint32_t)load_le(b, 4);
    next = bits == 32 ? next & 0x0fffffff : bits == 16 ? next : (c & 1 ? next >> 4 : next & 0xfff);
    return next >= 2 && next - 2 < fs->fat.n_clusters ? next : 0;
}

static int64_t fat_read(const struct fs *fs, const struct fs_node *node, uint64_t off, void *buf,
                        size_t n)
{
    uint8_t *to = buf;
    uint64_t left = off < node->size ? MIN((uint64_t)n, node->size - off) : 0, done = 0;
    if (node->in_root_area)
        return fs_bytes(fs, fs->fat.root_at + off, buf, left) ? (int64_t)left : -1;
    uint32_t c = node->first, per = fs->fat.cluster_bytes;
    if (c < 2 || c - 2 >= fs->fat.n_clusters)
        return left ? -1 : 0;
    uint32_t steps = 0; /* a chain that is longer than the disk is a loop */
    for (; off >= per && c; off -= per, steps++)
        c = steps <= fs->fat.n_clusters ? fat_next(fs, c) : 0;
    while (left && c && steps++ <= fs->fat.n_clusters) {
        size_t part = MIN(left, per - off);
        if (!fs_bytes(fs, fs->fat.data_at + (uint64_t)(c - 2) * per + off, to + done, part))
            return -1;
        done += part;
        left -= part;
        off = 0;
        c = fat_next(fs, c);
    }
    return (int64_t)done;
}

static struct fs_node fat_root(const struct fs *fs)
{
    struct fs_node root = { .is_dir = true, .size = fs->fat.root_entries * 32u };
    root.in_root_area = fs->fat.fat_bits != 32;
    if (!root.in_root_area) {
        root.first = fs->fat.root_cluster;
        root.size = 1 << 20; /* directories know no size; the chain ends them */
    }
    return root;
}

/* Long names stand before their entry, last part first, 13 UTF-16 units each. */
static void fat_long_part(char name[256], const uint8_t *e)
{
    static const uint8_t at[13] = { 1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30 };
    unsigned part = (e[0] & 0x1f) - 1u;
    if (e[0] & 0x40)
        memset(name, 0, 256);
    for (unsigned i = 0; i < 13 && part * 13 + i < 255; i++) {
        uint64_t unit = load_le(e + at[i], 2);
        name[part * 13 + i] = unit == 0xffff ? 0 : unit > 0x7e ? '?' : (char)unit;
    }
}

static void fat_short_name(char name[256], const uint8_t *e)
{
    unsigned n = 0;
    for (unsigned i = 0; i < 11; i++) {
        if (i == 8 && e[8] != ' ')
            name[n++] = '.';
        if (e[i] != ' ')
            name[n++] = (char)e[i];
    }
    name[n] = 0;
}

static void fat_list(const struct fs *fs, const struct fs_node *dir,
                     bool (*visit)(void *opaque, const char *name, const struct fs_node *node),
                     void *opaque)
{
    char long_name[256] = "", name[256];
    bool go_on = true;
    uint8_t *all = xmalloc(dir->size + 1); /* at most 2 MiB */
    int64_t n = fat_read(fs, dir, 0, all, dir->size);
    for (const uint8_t *e = all; go_on && e + 32 <= all + MAX(n, 0) && e[0]; e += 32) {
        if (e[0] == 0xe5) {
            long_name[0] = 0;
        } else if ((e[11] & 0x3f) == 0x0f) {
            fat_long_part(long_name, e);
        } else {
            if (*long_name)
                memcpy(name, long_name, sizeof(name));
            else
                fat_short_name(name, e);
            struct fs_node node = { .is_dir = e[11] & 0x10, .size = load_le(e + 28, 4) };
            node.first = (uint32_t)(load_le(e + 20, 2) << 16 | load_le(e + 26, 2));
            if (node.is_dir)
                node.size = 1 << 20;
            long_name[0] = 0;
            go_on = e[11] & 0x08 || visit(opaque, name, &node);
        }
    }
    free(all);
}

/* ---- ext2, ext3, ext4 (the kernel's Documentation/filesystems/ext4) -------------------------- */
enum { EXT_ROOT = 2, EXT_S_IFMT = 0xf000, EXT_S_IFDIR = 0x4000, EXT_S_IFLNK = 0xa000 };
#define EXT_EXTENTS_FLAG 0x80000u

static bool ext_open(struct fs *fs)
{
    uint8_t s[1024];
    if (!fs_bytes(fs, 1024, s, sizeof(s)) || load_le(s + 0x38, 2) != 0xef53)
        return false;
    uint64_t log_block = load_le(s + 0x18, 4), incompat = load_le(s + 0x60, 4);
    bool old = load_le(s + 0x4c, 4) == 0, wide = incompat & 0x80;
    fs->kind = FS_EXT;
    if (log_block > 6)
        return false;
    fs->ext.block_bytes = 1024u << log_block;
    fs->ext.n_inodes = (uint32_t)load_le(s, 4);
    fs->ext.n_blocks = load_le(s + 4, 4) | (wide ? load_le(s + 0x150, 4) << 32 : 0);
    fs->ext.inodes_per_group = (uint32_t)load_le(s + 0x28, 4);
    fs->ext.inode_bytes = old ? 128 : (uint32_t)load_le(s + 0x58, 2);
    fs->ext.descriptor_bytes = wide ? (uint32_t)load_le(s + 0xfe, 2) : 32;
    fs->ext.descriptors_at = (load_le(s + 0x14, 4) + 1) * fs->ext.block_bytes;
    return fs->ext.inodes_per_group && fs->ext.inode_bytes >= 128 &&
           fs->ext.inode_bytes <= fs->ext.block_bytes && fs->ext.descriptor_bytes >= 32;
}

/* The first 128 bytes of an inode. */
static bool ext_inode(const struct fs *fs, uint32_t number, uint8_t inode[128])
{
    uint8_t d[64] = { 0 };
    uint32_t size = MIN(fs->ext.descriptor_bytes, (uint32_t)sizeof(d));
    if (!number || number > fs->ext.n_inodes)
        return false;
    uint64_t group = (number - 1) / fs->ext.inodes_per_group;
    uint64_t index = (number - 1) % fs->ext.inodes_per_group;
    if (!fs_bytes(fs, fs->ext.descriptors_at + group * fs->ext.descriptor_bytes, d, size))
        return false;
    uint64_t table = load_le(d + 8, 4) | (size == 64 ? load_le(d + 0x28, 4) << 32 : 0);
    if (table >= fs->ext.n_blocks)
        return false;
    return fs_bytes(fs, table * fs->ext.block_bytes + index * fs->ext.inode_bytes, inode, 128);
}

/* Where block `index` of a file is, by its extent tree; 0 for a hole, ~0 when damaged. */
static uint64_t ext_extent(const struct fs *fs, const uint8_t *inode, uint64_t index)
{
    uint8_t *block = xmalloc(fs->ext.block_bytes), *node = block;
    uint64_t found = ~UINT64_C(0);
    size_t room = 60;
    memcpy(node, inode + 0x28, room);
    for (unsigned level = 0; level <= 5; level++) {
        uint64_t n = load_le(node + 2, 2), depth = load_le(node + 6, 2), next = 0;
        if (load_le(node, 2) != 0xf30a || n * 12 + 12 > room || level + depth > 5)
            break;
        const uint8_t *best = NULL;
        for (uint64_t i = 0; i < n && load_le(node + 12 + i * 12, 4) <= index; i++)
            best = node + 12 + i * 12;
        if (!best) {
            found = 0;
            break;
        }
        if (!depth) {
            uint64_t length = load_le(best + 4, 2), into = index - load_le(best, 4);
            bool written = length <= 0x8000;
            length -= written ? 0 : 0x8000;
            uint64_t first = load_le(best + 8, 4) | load_le(best + 6, 2) << 32;
            found = into < length && written ? first + into : 0;
            break;
        }
        next = load_le(best + 4, 4) | load_le(best + 8, 2) << 32;
        room = fs->ext.block_bytes;
        if (next >= fs->ext.n_blocks || !fs_bytes(fs, next * room, block, room))
            break;
    }
    free(block);
    return found;
}

/* The same by ext2's direct and indirect blocks. */
static uint64_t ext_mapped(const struct fs *fs, const uint8_t *inode, uint64_t index)
{
    uint64_t per = fs->ext.block_bytes / 4, span = 1;
    if (index < 12)
        return load_le(inode + 0x28 + index * 4, 4);
    index -= 12;
    for (unsigned level = 1; level <= 3; level++) {
        span *= per;
        if (index >= span) {
            index -= span;
            continue;
        }
        uint64_t block = load_le(inode + 0x28 + (11 + level) * 4, 4);
        for (uint64_t step = span / per; block && step; step /= per) {
            uint8_t entry[4];
            uint64_t at = block * fs->ext.block_bytes + index / step * 4;
            if (block >= fs->ext.n_blocks || !fs_bytes(fs, at, entry, 4))
                return ~UINT64_C(0);
            block = load_le(entry, 4);
            index %= step;
        }
        return block;
    }
    return ~UINT64_C(0);
}

static int64_t ext_read_inode(const struct fs *fs, const uint8_t *inode, uint64_t size,
                              uint64_t off, void *buf, size_t n)
{
    uint64_t left = off < size ? MIN((uint64_t)n, size - off) : 0, done = 0;
    uint32_t per = fs->ext.block_bytes;
    bool extents = load_le(inode + 0x20, 4) & EXT_EXTENTS_FLAG;
    while (left) {
        uint64_t block = (extents ? ext_extent : ext_mapped)(fs, inode, off / per);
        size_t part = MIN(left, per - off % per);
        if (block >= fs->ext.n_blocks)
            return -1;
        if (!block)
            memset((uint8_t *)buf + done, 0, part);
        else if (!fs_bytes(fs, block * per + off % per, (uint8_t *)buf + done, part))
            return -1;
        done += part;
        off += part;
        left -= part;
    }
    return (int64_t)done;
}

static bool ext_node(const struct fs *fs, uint32_t number, struct fs_node *out, uint8_t inode[128])
{
    if (!ext_inode(fs, number, inode))
        return false;
    uint64_t mode = load_le(inode, 2);
    *out = (struct fs_node){ .first = number, .is_dir = (mode & EXT_S_IFMT) == EXT_S_IFDIR };
    out->size = load_le(inode + 4, 4);
    if (!out->is_dir)
        out->size |= load_le(inode + 0x6c, 4) << 32;
    return true;
}

static void ext_list(const struct fs *fs, const struct fs_node *dir,
                     bool (*visit)(void *opaque, const char *name, const struct fs_node *node),
                     void *opaque)
{
    uint8_t inode[128], sub[128], *block = xmalloc(fs->ext.block_bytes);
    uint64_t size = MIN(dir->size, 16 * MIB), per = fs->ext.block_bytes;
    bool go_on = ext_inode(fs, dir->first, inode);
    for (uint64_t off = 0; off < size && go_on; off += per) {
        if (ext_read_inode(fs, inode, dir->size, off, block, per) != (int64_t)per)
            break;
        for (uint64_t at = 0; at + 8 <= per && go_on;) {
            uint32_t number = (uint32_t)load_le(block + at, 4);
            uint64_t length = load_le(block + at + 4, 2), n = block[at + 6];
            if (length < 8 || length > per - at || n > length - 8)
                break;
            char name[256];
            struct fs_node node;
            memcpy(name, block + at + 8, n);
            name[n] = 0;
            if (number && ext_node(fs, number, &node, sub))
                go_on = visit(opaque, name, &node);
            at += length;
        }
    }
    free(block);
}

/* ---- both ------------------------------------------------------------------------------------ */
bool fs_open(struct fs *fs, const struct disk *d, const struct partition *p)
{
    *fs = (struct fs){ .disk = d, .start = p->start, .size = p->size };
    return ext_open(fs) || fat_open(fs);
}

void fs_list(const struct fs *fs, const struct fs_node *dir,
             bool (*visit)(void *opaque, const char *name, const struct fs_node *node),
             void *opaque)
{
    (fs->kind == FS_FAT ? fat_list : ext_list)(fs, dir, visit, opaque);
}

int64_t fs_read(const struct fs *fs, const struct fs_node *node, uint64_t off, void *buf, size_t n)
{
    uint8_t inode[128];
    if (fs->kind == FS_FAT)
        return fat_read(fs, node, off, buf, n);
    return ext_inode(fs, node->first, inode) ? ext_read_inode(fs, inode, node->size, off, buf, n)
                                             : -1;
}

struct wanted {
    const char *name;
    bool ignore_case, found;
    struct fs_node node;
};

static bool is_wanted(void *opaque, const char *name, const struct fs_node *node)
{
    struct wanted *w = opaque;
    if ((w->ignore_case ? strcasecmp : strcmp)(name, w->name))
        return true;
    w->node = *node;
    w->found = true;
    return false;
}

/* The target of a symbolic link: short ones stand in the inode. */
static bool ext_link(const struct fs *fs, const struct fs_node *node, char *target, size_t room)
{
    uint8_t inode[128];
    if (fs->kind != FS_EXT || !ext_inode(fs, node->first, inode) ||
        (load_le(inode, 2) & EXT_S_IFMT) != EXT_S_IFLNK || node->size >= room)
        return false;
    target[node->size] = 0;
    if (node->size < 60) {
        memcpy(target, inode + 0x28, node->size);
        return true;
    }
    return ext_read_inode(fs, inode, node->size, 0, target, node->size) == (int64_t)node->size;
}

static struct fs_node fs_root(const struct fs *fs)
{
    uint8_t inode[128];
    struct fs_node root = { 0 };
    if (fs->kind == FS_FAT)
        return fat_root(fs);
    ext_node(fs, EXT_ROOT, &root, inode);
    return root;
}

static bool find_below(const struct fs *fs, const struct fs_node *from, const char *path,
                       unsigned links, struct fs_node *out)
{
    struct fs_node at = *path == '/' ? fs_root(fs) : *from;
    char part[256], target[1024];
    for (;;) {
        path += strspn(path, "/");
        size_t n = strcspn(path, "/");
        if (!n) {
            *out = at;
            return true;
        }
        if (!at.is_dir || n >= sizeof(part))
            return false;
        memcpy(part, path, n);
        part[n] = 0;
        path += n;
        struct wanted w = { .name = part, .ignore_case = fs->kind == FS_FAT };
        fs_list(fs, &at, is_wanted, &w);
        if (!w.found)
            return false;
        if (ext_link(fs, &w.node, target, sizeof(target))) {
            if (!links || !find_below(fs, &at, target, links - 1, &at))
                return false;
        } else {
            at = w.node;
        }
    }
}

bool fs_find(const struct fs *fs, const char *path, struct fs_node *out)
{
    struct fs_node root = fs_root(fs);
    return find_below(fs, &root, path, 8, out);
}
