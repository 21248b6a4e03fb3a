/* Keccak-256 (Ethereum's) of many short messages of one length, W of them at a time in vector
 * registers. Built by hashing.py with the compiler of the machine. Source: FIPS 202, section 3;
 * the padding is that of the Keccak submission (0x01 … 0x80). */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __AVX512F__
#define W 8
#else
#define W 4
#endif
#define RATE 136 /* bytes of a block; a message and its tag are shorter */

typedef uint64_t lane __attribute__((vector_size(8 * W)));

static const uint64_t ROUND[24] = {
    0x0000000000000001, 0x0000000000008082, 0x800000000000808a, 0x8000000080008000,
    0x000000000000808b, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009,
    0x000000000000008a, 0x0000000000000088, 0x0000000080008009, 0x000000008000000a,
    0x000000008000808b, 0x800000000000008b, 0x8000000000008089, 0x8000000000008003,
    0x8000000000008002, 0x8000000000000080, 0x000000000000800a, 0x800000008000000a,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008};

#define ROL(x, n) (((x) << (n)) | ((x) >> (64 - (n))))

/* Theta, rho and pi of column x: lane (x, y) is rotated and goes to (y, 2x + 3y). */
#define COLUMN(x, next, before, r0, r1, r2, r3, r4, t0, t1, t2, t3, t4) \
    d = c[before] ^ ROL(c[next], 1);                                    \
    b[t0] = (r0) ? ROL(a[x] ^ d, r0) : a[x] ^ d;                        \
    b[t1] = ROL(a[(x) + 5] ^ d, r1);                                    \
    b[t2] = ROL(a[(x) + 10] ^ d, r2);                                   \
    b[t3] = ROL(a[(x) + 15] ^ d, r3);                                   \
    b[t4] = ROL(a[(x) + 20] ^ d, r4);

static void permute(lane a[25])
{
    lane b[25], c[5], d;
    for (int round = 0; round < 24; round++) {
        for (int x = 0; x < 5; x++)
            c[x] = a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20];
        COLUMN(0, 1, 4, 0, 36, 3, 41, 18, 0, 16, 7, 23, 14)
        COLUMN(1, 2, 0, 1, 44, 10, 45, 2, 10, 1, 17, 8, 24)
        COLUMN(2, 3, 1, 62, 6, 43, 15, 61, 20, 11, 2, 18, 9)
        COLUMN(3, 4, 2, 28, 55, 25, 21, 56, 5, 21, 12, 3, 19)
        COLUMN(4, 0, 3, 27, 20, 39, 8, 14, 15, 6, 22, 13, 4)
        for (int y = 0; y < 25; y += 5) {
            a[y] = b[y] ^ (~b[y + 1] & b[y + 2]);
            a[y + 1] = b[y + 1] ^ (~b[y + 2] & b[y + 3]);
            a[y + 2] = b[y + 2] ^ (~b[y + 3] & b[y + 4]);
            a[y + 3] = b[y + 3] ^ (~b[y + 4] & b[y]);
            a[y + 4] = b[y + 4] ^ (~b[y] & b[y + 1]);
        }
        a[0] ^= ROUND[round];
    }
}

/* Write the 32-byte hash of `tag` and each message; tagged + length < RATE. */
void hash_all(const uint8_t *messages, size_t count, size_t length, const uint8_t *tag,
              size_t tagged, uint8_t *hashes)
{
    uint64_t block[RATE / 8] = {0};
    uint8_t *bytes = (uint8_t *)block;
    for (size_t at = 0; at < count; at += W) {
        size_t present = count - at < W ? count - at : W;
        lane state[25] = {0};
        for (size_t i = 0; i < present; i++) {
            memcpy(bytes, tag, tagged);
            memcpy(bytes + tagged, messages + (at + i) * length, length);
            bytes[tagged + length] = 1;
            bytes[RATE - 1] |= 0x80; /* the same byte, where the message fills the block */
            for (int word = 0; word < RATE / 8; word++)
                state[word][i] = block[word];
            bytes[RATE - 1] = 0;
        }
        permute(state);
        for (size_t i = 0; i < present; i++)
            for (int word = 0; word < 4; word++) {
                uint64_t out = state[word][i];
                memcpy(hashes + (at + i) * 32 + 8 * word, &out, 8);
            }
    }
}
