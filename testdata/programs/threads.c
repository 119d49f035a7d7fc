/* N threads, each with a VM of its own, led through the protocol of workloads/lib/ready.lua.
 *
 *   threads work N ROUNDS   every VM lives from before `ready` until after `done`
 *   threads born N ROUNDS   each thread closes its VM and starts a new one, three times between `ready` and `done`
 *   threads stuck           one VM; behind `ready` it hangs in the kernel twice, where no debugger can stop it
 *   threads custom          one VM on an allocator that is not LuaJIT's: `ready`, then it waits for the end of stdin
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lauxlib.h"
#include "lualib.h"

#define MAX_THREADS 16
#define LIVES 3

static int threads, rounds, lives;
static pthread_barrier_t ready, go, done, end;

/* Tables, strings and closures that come and go, a list that stays, and now and then a block of its own mapping. The
 * figure depends on the arguments alone. */
static const char work[] =
    "local seed, rounds = ...\n"
    "local state = seed * 7919 + 1\n"
    "local function random(n) state = state * 16807 % 2147483647 return state % n + 1 end\n"
    "kept, big = kept or {}, big or {}\n"
    "local sum = 0\n"
    "for round = 1, rounds do\n"
    "  for i = 1, 300 do\n"
    "    local slot = random(2000)\n"
    "    kept[slot] = { slot, tostring(state), function() return slot + round end }\n"
    "    sum = sum + #string.rep('s', random(400)) + kept[slot][3]()\n"
    "  end\n"
    "  if round % 7 == 0 then\n"
    "    big[random(4)] = seed .. string.rep('b', 140000 + random(90000))\n"
    "    collectgarbage()\n"
    "  end\n"
    "end\n"
    "return sum\n";

static double run(lua_State *L, int seed, int count) {
    if (luaL_loadstring(L, work)) goto failed;
    lua_pushinteger(L, seed);
    lua_pushinteger(L, count);
    if (lua_pcall(L, 2, 1, 0)) goto failed;
    double sum = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return sum;
failed:
    fprintf(stderr, "threads: %s\n", lua_tostring(L, -1));
    exit(1);
}

static lua_State *birth(int seed) {
    lua_State *L = luaL_newstate();
    if (!L) exit(1);
    luaL_openlibs(L);
    run(L, seed, 7);
    return L;
}

static double sums[MAX_THREADS];

static void *thread(void *argument) {
    int number = (int)(long)argument;
    lua_State *L = birth(number);
    pthread_barrier_wait(&ready);
    pthread_barrier_wait(&go);
    for (int life = 0; life < lives; life++) {
        if (life > 0) {
            lua_close(L);
            L = birth(number + life);
        }
        sums[number - 1] += run(L, number, rounds);
    }
    pthread_barrier_wait(&done);
    pthread_barrier_wait(&end);
    lua_close(L);
    return NULL;
}

static void wait_line(void) {
    int c;
    while ((c = getchar()) != EOF && c != '\n') {
    }
}

static void wait_end(void) {
    while (getchar() != EOF) {
    }
}

static void *custom(void *data, void *block, size_t osize, size_t nsize) {
    (void)data, (void)osize;
    if (nsize) return realloc(block, nsize);
    free(block);
    return NULL;
}

/* Until a child of vfork() ends its parent stands still and only dying wakes it. */
static void hang(void) {
    pid_t child = vfork();
    if (child == 0) {
        usleep(700000);
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

static int stuck(void) {
    lua_State *L = birth(1);
    double sum = 0;
    puts("ready");
    wait_line();
    for (int i = 0; i < 2; i++) {
        hang();
        sum += run(L, 1, 70);
    }
    printf("done sum=%.0f\n", sum);
    wait_end();
    lua_close(L);
    return 0;
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 2 && !strcmp(argv[1], "stuck")) return stuck();
    if (argc == 2 && !strcmp(argv[1], "custom")) {
        lua_State *L = lua_newstate(custom, NULL);
        if (!L) return 1;
        luaL_openlibs(L);
        run(L, 1, 50);
        puts("ready");
        wait_end();
        lua_close(L);
        return 0;
    }
    if (argc != 4 || (threads = atoi(argv[2])) < 1 || threads > MAX_THREADS) return 1;
    lives = !strcmp(argv[1], "born") ? LIVES : 1;
    rounds = atoi(argv[3]);
    pthread_barrier_t *all[] = {&ready, &go, &done, &end};
    for (int i = 0; i < 4; i++) pthread_barrier_init(all[i], NULL, threads + 1);
    pthread_t ids[MAX_THREADS];
    for (long i = 0; i < threads; i++) {
        if (pthread_create(&ids[i], NULL, thread, (void *)(i + 1))) return 1;
    }
    pthread_barrier_wait(&ready);
    puts("ready");
    wait_line();
    pthread_barrier_wait(&go);
    pthread_barrier_wait(&done);
    double sum = 0;
    for (int i = 0; i < threads; i++) sum += sums[i];
    printf("done sum=%.0f\n", sum);
    wait_end();
    pthread_barrier_wait(&end);
    for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
    return 0;
}
