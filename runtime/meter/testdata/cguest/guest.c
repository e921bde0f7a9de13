// A guest for benchmarks and tests: loops as plugins have them.
//
// build.sh beside it makes the module.
#define EXPORT(name) __attribute__((export_name(#name))) name
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

static u8 block[64 << 10];
static u32 table[256];
static u32 heap[4096];

void EXPORT(noop)(void) {}

u32 EXPORT(setup)(void) {
  for (u32 i = 0; i < sizeof block; i++) block[i] = (u8)(i * 31 + (i >> 8));
  for (u32 i = 0; i < 256; i++) {
    u32 c = i;
    for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
    table[i] = c;
  }
  return sizeof block;
}

// FNV-1a of n bytes.
u32 EXPORT(fnv)(u32 n) {
  u32 h = 2166136261u;
  for (u32 i = 0; i < n; i++) h = (h ^ block[i]) * 16777619u;
  return h;
}

u32 EXPORT(crc)(u32 n) {
  u32 c = ~0u;
  for (u32 i = 0; i < n; i++) c = table[(c ^ block[i]) & 255] ^ (c >> 8);
  return ~c;
}

// Murmur2, as Kafka's partitioner has it.
u32 EXPORT(murmur)(u32 n) {
  const u32 m = 0x5bd1e995;
  u32 h = 0x9747b28c ^ n, i = 0;
  for (; i + 4 <= n; i += 4) {
    u32 k = block[i] | block[i + 1] << 8 | block[i + 2] << 16 | (u32)block[i + 3] << 24;
    k *= m; k ^= k >> 24; k *= m;
    h *= m; h ^= k;
  }
  switch (n - i) {
  case 3: h ^= block[i + 2] << 16; // fall through
  case 2: h ^= block[i + 1] << 8;  // fall through
  case 1: h ^= block[i]; h *= m;
  }
  h ^= h >> 13; h *= m; h ^= h >> 15;
  return h;
}

// Stars for digits, as a masking plugin does.
u32 EXPORT(mask)(u32 n) {
  u32 hits = 0;
  for (u32 i = 0; i < n; i++)
    if (block[i] >= '0' && block[i] <= '9') { block[i] = '*'; hits++; }
  return hits;
}

static void sift(u32 i, u32 n) {
  for (;;) {
    u32 c = 2 * i + 1;
    if (c >= n) return;
    if (c + 1 < n && heap[c + 1] > heap[c]) c++;
    if (heap[i] >= heap[c]) return;
    u32 t = heap[i]; heap[i] = heap[c]; heap[c] = t;
    i = c;
  }
}

u32 EXPORT(sort)(u32 n) {
  u32 x = 1;
  for (u32 i = 0; i < n; i++) heap[i] = x = x * 1664525u + 1013904223u;
  for (u32 i = n / 2; i-- > 0;) sift(i, n);
  for (u32 i = n; i-- > 1;) {
    u32 t = heap[0]; heap[0] = heap[i]; heap[i] = t;
    sift(0, i);
  }
  return heap[n / 2];
}

u32 EXPORT(fib)(u32 n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

// Small copies, as edits of records are.
u32 EXPORT(copies)(u32 n) {
  for (u32 i = 0; i < n; i++) __builtin_memcpy(block + (i * 64 & 0x7fff), block + 0x8000 + i % 7, 48 + (i & 15));
  return block[64];
}

static u32 add(u32 a) { return a + 3; }
static u32 mul(u32 a) { return a * 3; }
static u32 xor(u32 a) { return a ^ 0x55; }
static u32 (*const volatile fns[])(u32) = {add, mul, xor};

u32 EXPORT(indirect)(u32 n) {
  u32 x = 1;
  for (u32 i = 0; i < n; i++) x = fns[x % 3](x);
  return x;
}
