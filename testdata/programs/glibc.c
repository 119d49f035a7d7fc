/* Memory from glibc's malloc in every state there is, and what glibc itself says of it, on one line.
 *
 *   glibc fill N [ROUNDS]
 *                   the main thread and N more, each with an arena and a cache of its own, leave chunks used and free in
 *                   every kind of list; the last arena has several heaps; blocks are mapped on their own
 *   glibc foreign   somebody else takes memory from sbrk, between glibc's own
 *   glibc scattered nothing can be had from sbrk any more
 *
 * It says `ready`, works when told, says `done` with the figures, and waits for the end of stdin. Nothing is allocated
 * between the figures and the end.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_THREADS 16
#define BLOCKS 3000
#define HANDED 40

static int threads, rounds = 20000;
static pthread_barrier_t done;
/* Allocated by the main thread, freed by another: they come into that one's cache, or back into this one's arena. */
static void *handed[MAX_THREADS][HANDED];

static uint32_t roll(uint32_t *state, uint32_t n) {
    *state = *state * 1664525 + 1013904223;
    return (*state >> 8) % n;
}

/* What the program holds in arenas: blocks, and the bytes of their chunks. */
static size_t live, live_bytes;

/* Counts a block as held, or as no longer so, unless it is mapped on its own, which the word before it says. */
static void *count(void *block, int sign) {
    if (!block || *(size_t *)((uintptr_t)block - sizeof(size_t)) & 2) return block;
    __atomic_fetch_add(&live, sign, __ATOMIC_RELAXED);
    __atomic_fetch_add(&live_bytes, sign * (malloc_usable_size(block) + sizeof(size_t)), __ATOMIC_RELAXED);
    return block;
}

static void *get(size_t size) {
    void *block = count(malloc(size), 1);
    if (!block) abort();
    memset(block, 0xa5, size < 256 ? size : 256);
    return block;
}

static void put(void *block) {
    free(count(block, -1));
}

/* Sizes of all bins: of thread caches and fastbins, small, large. */
static size_t size_of(uint32_t *state) {
    switch (roll(state, 8)) {
    case 0: case 1: case 2: return 1 + roll(state, 160);
    case 3: case 4: return 1 + roll(state, 1032);
    case 5: return 1000 + roll(state, 4000);
    case 6: return 4000 + roll(state, 30000);
    default: return roll(state, 50) ? 1 + roll(state, 400) : 30000 + roll(state, 90000);
    }
}

static void fill(uint32_t seed) {
    uint32_t state = seed * 7919 + 17;
    void **blocks = get(BLOCKS * sizeof *blocks);
    for (int i = 0; i < BLOCKS; i++) blocks[i] = get(size_of(&state));
    for (int i = 0; i < rounds; i++) {
        int at = roll(&state, BLOCKS);
        put(blocks[at]);
        blocks[at] = roll(&state, 3) ? get(size_of(&state)) : NULL;
        if (roll(&state, 100) == 0) {
            put(blocks[at]);
            blocks[at] = count(memalign(64 << roll(&state, 6), 1 + roll(&state, 3000)), 1);
        }
    }
    /* Single holes, so that free chunks are not merged; then a large request sorts them into their bins. */
    for (int i = 0; i < BLOCKS; i += 3) {
        put(blocks[i]);
        blocks[i] = NULL;
    }
    void *sorter = get(100000);
    put(sorter);
}

/* Of each small size more than a cache takes, the rest for the fastbins; and some for the unsorted bin. Whoever asks for
 * much afterwards has them sorted and merged. */
static void leave(void) {
    enum { SIZES = 7, SAME = 20, UNSORTED = 5 };
    void *same[SIZES][SAME], *unsorted[UNSORTED];
    for (int i = 0; i < SIZES; i++) {
        for (int j = 0; j < SAME; j++) same[i][j] = get(24 + 16 * i);
    }
    for (int i = 0; i < UNSORTED; i++) {
        unsorted[i] = get(2000 + 500 * i);
        get(30);
    }
    for (int i = 0; i < SIZES; i++) {
        for (int j = 0; j < SAME; j++) put(same[i][j]);
    }
    for (int i = 0; i < UNSORTED; i++) put(unsorted[i]);
}

/* More than a heap holds; then what lies at its end goes, and a hole stays in the middle. */
static void overflow(void) {
    static void *large[1500];
    for (int i = 0; i < 1500; i++) large[i] = get(100000);
    for (int i = 1300; i < 1500; i++) put(large[i]);
    for (int i = 100; i < 200; i += 2) put(large[i]);
}

static void *thread(void *argument) {
    int number = (int)(intptr_t)argument;
    fill(number);
    if (number == threads) overflow();
    for (int i = 0; i < HANDED; i++) put(handed[number - 1][i]);
    leave();
    pthread_barrier_wait(&done);
    pthread_barrier_wait(&done);
    return NULL;
}

/* It leaves an arena, or a share in one, and no cache. */
static void *short_life(void *argument) {
    fill((int)(intptr_t)argument);
    return NULL;
}

static void map(void) {
    get(1 << 20);
    get(300000);
    if (!count(realloc(malloc(2 << 20), 5 << 20), 1) || !count(memalign(1 << 16, 3 << 20), 1)) abort();
}

static void foreign(void) {
    if (sbrk(12345) == (void *)-1) abort();
    for (int i = 0; i < 10; i++) get(100000);
}

static void scattered(void) {
    char *end = sbrk(0);
    end += -(uintptr_t)end & 4095;
    if (mmap(end, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != end) abort();
    for (int i = 0; i < 20; i++) get(100000);
}

/* Before 2.33 there was only the one with figures of 32 bits. */
#ifndef MALLINFO
#define MALLINFO mallinfo2
#endif

static void say(void) {
    static char line[1 << 17], xml[1 << 16], buffer[1 << 16];
    /* The stream is made before the figures are taken, and has no memory to ask for when it is written to. */
    FILE *stream = fmemopen(xml, sizeof xml, "w");
    if (!stream || setvbuf(stream, buffer, _IOFBF, sizeof buffer)) abort();
    struct MALLINFO info = MALLINFO();
    if (malloc_info(0, stream) || fflush(stream)) abort();
    for (char *c = xml; *c; c++) {
        if (*c == '\n') *c = ' ';
    }
    int length = snprintf(line, sizeof line,
                          "done arena=%zu ordblks=%zu smblks=%zu hblks=%zu hblkhd=%zu fsmblks=%zu uordblks=%zu "
                          "fordblks=%zu keepcost=%zu live=%zu live_bytes=%zu %s\n",
                          (size_t)info.arena, (size_t)info.ordblks, (size_t)info.smblks, (size_t)info.hblks,
                          (size_t)info.hblkhd, (size_t)info.fsmblks, (size_t)info.uordblks, (size_t)info.fordblks,
                          (size_t)info.keepcost, live, live_bytes, xml);
    if (write(1, line, length) != length) abort();
}

static void wait_line(void) {
    char c;
    while (read(0, &c, 1) == 1 && c != '\n') {
    }
}

int main(int argc, char **argv) {
    if (write(1, "ready\n", 6) != 6) return 1;
    wait_line();
    if (argc == 2 && !strcmp(argv[1], "foreign")) {
        fill(1);
        foreign();
    } else if (argc == 2 && !strcmp(argv[1], "scattered")) {
        fill(1);
        scattered();
    } else if (argc >= 3 && !strcmp(argv[1], "fill") && (threads = atoi(argv[2])) >= 0 && threads <= MAX_THREADS) {
        if (argc > 3) rounds = atoi(argv[3]);
        for (int i = 0; i < threads; i++) {
            for (int j = 0; j < HANDED; j++) handed[i][j] = get(20 + 40 * j);
        }
        pthread_barrier_init(&done, NULL, threads + 1);
        pthread_t id;
        for (intptr_t i = 1; i <= threads; i++) {
            if (pthread_create(&id, NULL, thread, (void *)i)) return 1;
        }
        if (threads) {
            if (pthread_create(&id, NULL, short_life, (void *)99) || pthread_join(id, NULL)) return 1;
        }
        fill(0);
        map();
        leave();
        pthread_barrier_wait(&done);
        say();
        wait_line();
        pthread_barrier_wait(&done);
        return 0;
    } else {
        return 1;
    }
    say();
    wait_line();
    return 0;
}
