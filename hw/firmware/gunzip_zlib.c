/* gzip through zlib. */
#include "core/error.h"
#include "hw/firmware/loader.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

/* Inflate until the end of the stream; *room grows up to most. */
static struct error *inflate_all(z_stream *z, uint64_t most, uint8_t **out, uint64_t *out_n)
{
    uint64_t room = 0, done = 0;
    for (;;) {
        if (done == room) {
            if (room >= most)
                return error_new("it unpacks to more than the %" PRIu64 " bytes there is room for",
                                 most);
            room = MIN(MAX(room * 2, 1 * MIB), most);
            uint8_t *grown = realloc(*out, room);
            if (!grown)
                return error_new("no memory to unpack it");
            *out = grown;
        }
        z->next_out = *out + done;
        z->avail_out = (uInt)MIN(room - done, 1u << 30);
        uInt had = z->avail_out;
        int rc = inflate(z, Z_NO_FLUSH);
        done += had - z->avail_out;
        if (rc == Z_STREAM_END) {
            *out_n = done;
            return NULL;
        }
        if (rc == Z_BUF_ERROR || (rc == Z_OK && z->avail_in == 0 && z->avail_out))
            return error_new("it is truncated: its gzip stream has no end");
        if (rc != Z_OK)
            return error_new("its gzip stream is damaged (%s)", z->msg ? z->msg : "no header");
    }
}

struct error *gunzip(const uint8_t *in, uint64_t n, uint64_t most, uint8_t **out, uint64_t *out_n)
{
    z_stream z = { .next_in = (Bytef *)in, .avail_in = (uInt)n };
    if (n > UINT_MAX)
        return error_new("it is too large to be unpacked");
    if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
        return error_new("no memory to unpack it");
    *out = NULL;
    struct error *err = inflate_all(&z, most, out, out_n);
    inflateEnd(&z);
    if (!err && *out_n == 0)
        err = error_new("it is empty");
    if (err) {
        free(*out);
        *out = NULL;
    }
    return err;
}
