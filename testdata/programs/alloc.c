/* Known amounts of memory, in the main thread and in others.
 *
 *   alloc THREADS       from malloc
 *   alloc THREADS own   from an allocator of its own that nobody knows, on mmap
 *
 * Each thread, the main one as well, takes SMALL blocks of SMALL_SIZE bytes, writes to all of each, takes one block of
 * LARGE_SIZE bytes and writes to the first half of it. Then `ready`. After a line the kernel is asked to write the large
 * blocks to swap, and `done` follows. At the end of stdin it ends.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MAX_THREADS 16
#define SMALL 4096
#define SMALL_SIZE 1000
#define LARGE_SIZE (16 << 20)
#define POOL (8 << 20)
#define PAGE 4096

static char *small[MAX_THREADS + 1][SMALL], *large[MAX_THREADS + 1];
static pthread_barrier_t ready, end;

/* Hands out what it has mapped from the start on, and takes nothing back. */
static void *own(size_t size) {
    static _Thread_local char *at;
    static _Thread_local size_t left;
    if (size > left) {
        left = size > POOL ? size : POOL;
        at = mmap(NULL, left, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) return NULL;
    }
    char *block = at;
    at += size, left -= size;
    return block;
}

static void *(*allocate)(size_t) = malloc;

/* Not zero: pages of zeros need no place in swap. */
static char *written(size_t size, size_t bytes) {
    char *block = allocate(size);
    if (!block) abort();
    return memset(block, 0x5a, bytes);
}

static void *thread(void *argument) {
    size_t number = (size_t)argument;
    for (int i = 0; i < SMALL; i++) small[number][i] = written(SMALL_SIZE, SMALL_SIZE);
    large[number] = written(LARGE_SIZE, LARGE_SIZE / 2);
    if (number == 0) return NULL;
    pthread_barrier_wait(&ready);
    pthread_barrier_wait(&end);
    return NULL;
}

static void write_out(char *block) {
    char *from = (char *)(((uintptr_t)block + PAGE - 1) / PAGE * PAGE);
    if (madvise(from, LARGE_SIZE / 2 - PAGE, MADV_PAGEOUT)) perror("alloc: madvise");
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : -1;
    if (threads < 0 || threads > MAX_THREADS) return 1;
    if (argc > 2 && !strcmp(argv[2], "own")) allocate = own;
    setvbuf(stdout, NULL, _IOLBF, 0);
    pthread_barrier_init(&ready, NULL, threads + 1);
    pthread_barrier_init(&end, NULL, threads + 1);
    pthread_t ids[MAX_THREADS];
    for (long i = 1; i <= threads; i++) {
        if (pthread_create(&ids[i - 1], NULL, thread, (void *)i)) return 1;
    }
    thread((void *)0);
    pthread_barrier_wait(&ready);
    puts("ready");
    int c;
    while ((c = getchar()) != EOF) {
        if (c != '\n') continue;
        for (int i = 0; i <= threads; i++) write_out(large[i]);
        puts("done");
    }
    pthread_barrier_wait(&end);
    for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
    return 0;
}
