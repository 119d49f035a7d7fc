/* A module for Lua whose functions allocate in known proportions, so that tests can tell who did. Built with and without
   frame pointers; it needs no headers of Lua's. */

#include <stddef.h>

typedef struct lua_State lua_State;
extern void *lua_newuserdata(lua_State *L, size_t size);
extern void lua_settop(lua_State *L, int index);
extern void lua_pushcclosure(lua_State *L, int (*function)(lua_State *), int upvalues);
extern ptrdiff_t lua_tointeger(lua_State *L, int index);

/* Sizes that nothing else in the test program asks for. */
enum { SMALL = 1003, LARGE = 3011, INLINED = 2003 };

/* Nothing may be left out, and each function is to have a frame of its own. */
#define SITE __attribute__((noinline, noclone)) static void
#define KEEP __asm__ volatile("" ::: "memory")

SITE small_site(lua_State *L)
{
  lua_newuserdata(L, SMALL);
  lua_settop(L, -2);
  KEEP;
}

SITE large_site(lua_State *L)
{
  lua_newuserdata(L, LARGE);
  lua_settop(L, -2);
  KEEP;
}

static inline __attribute__((always_inline)) void inlined_site(lua_State *L)
{
  lua_newuserdata(L, INLINED);
  lua_settop(L, -2);
  KEEP;
}

SITE outer_site(lua_State *L)
{
  inlined_site(L);
  KEEP;
}

/* work(n): n rounds of three small ones, one large one and two that are inlined. */
static int work(lua_State *L)
{
  for (ptrdiff_t n = lua_tointeger(L, 1); n > 0; n--) {
    small_site(L);
    outer_site(L);
    small_site(L);
    large_site(L);
    outer_site(L);
    small_site(L);
  }
  return 0;
}

/* For the FFI: calls back into Lua. */
__attribute__((noinline, noclone)) void callback_site(void (*function)(void), int times)
{
  while (times-- > 0) {
    function();
    KEEP;
  }
}

int luaopen_sites(lua_State *L)
{
  lua_pushcclosure(L, work, 0);
  return 1;
}
