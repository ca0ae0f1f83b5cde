/* Copies into and out of chains. */
#include "hw/virtio/virtio.h"

static size_t iov_copy(const struct iovec *iov, unsigned n_iov, uint64_t off, void *buf, size_t n,
                       bool to_iov)
{
    size_t done = 0;
    for (unsigned i = 0; i < n_iov && done < n; i++) {
        if (off >= iov[i].iov_len) {
            off -= iov[i].iov_len;
            continue;
        }
        size_t part = MIN(n - done, iov[i].iov_len - off);
        uint8_t *guest = (uint8_t *)iov[i].iov_base + off, *mine = (uint8_t *)buf + done;
        memcpy(to_iov ? guest : mine, to_iov ? mine : guest, part);
        done += part;
        off = 0;
    }
    return done;
}

size_t chain_read(const struct virtq_chain *c, uint64_t off, void *buf, size_t n)
{
    return iov_copy(c->readable, c->n_readable, off, buf, n, false);
}

size_t chain_write(struct virtq_chain *c, uint64_t off, const void *buf, size_t n)
{
    size_t done = iov_copy(c->writable, c->n_writable, off, (void *)buf, n, true);
    if (done)
        c->touched = MAX(c->touched, off + done);
    return done;
}

unsigned iov_slice(const struct iovec *iov, unsigned n_iov, uint64_t off, uint64_t n,
                   struct iovec *out, unsigned max, uint64_t *got)
{
    unsigned used = 0;
    *got = 0;
    for (unsigned i = 0; i < n_iov && *got < n && used < max; i++) {
        if (off >= iov[i].iov_len) {
            off -= iov[i].iov_len;
            continue;
        }
        uint64_t part = MIN(n - *got, iov[i].iov_len - off);
        out[used++] = (struct iovec){ (uint8_t *)iov[i].iov_base + off, part };
        *got += part;
        off = 0;
    }
    return used;
}
