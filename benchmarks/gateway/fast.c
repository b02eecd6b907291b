/* A fixed fast upstream and a load generator for bench_gateway.py; Linux (epoll), one thread each.

   fast serve                  prints its port; answers every POST as llama.cpp would, at once
     "stream":true             CHUNKS events, one every GAP_MS, the last with [DONE]
       and "return_progress"   the whole answer's tokens as events, at once: how our gateway asks
                               for a whole answer (gateway/protocols/gather.py)
     "hold":true               never answers (until the client leaves)
     GET /active               how many streams and held requests are open, as text
     GET anything else         a model list
   fast load HOST PORT CONNECTIONS REQUESTS BODYFILE [HEADER...]
     prints JSON: seconds, latencies in ns (p50, p90, p99), first bytes, events, bytes, failures */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define CHUNKS 200
#define GAP_MS 5
#define MOST 4096
#define ROOM (1 << 17)

static long long now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void no_delay(int fd) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* ---- serve ---- */

static const char CHUNK[] =
    "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"content\":\" token\"}}],"
    "\"created\":1795437451,\"id\":\"chatcmpl-UCrmcJgBKum5B4i1kIg1LhgAb843zEMy\",\"model\":"
    "\"local-chat\",\"system_fingerprint\":\"b0-unknown\",\"object\":\"chat.completion.chunk\"}\n\n";
static const char LAST[] =
    "data: {\"choices\":[{\"finish_reason\":\"stop\",\"index\":0,\"delta\":{}}],\"created\":"
    "1795437451,\"id\":\"chatcmpl-UCrmcJgBKum5B4i1kIg1LhgAb843zEMy\",\"model\":\"local-chat\","
    "\"object\":\"chat.completion.chunk\",\"timings\":{\"prompt_n\":16,\"predicted_n\":200}}\n\n"
    "data: [DONE]\n\n";
static const char WHOLE[] =
    "{\"choices\":[{\"finish_reason\":\"stop\",\"index\":0,\"message\":{\"role\":\"assistant\","
    "\"content\":\"Hello from the fixed upstream.\"}}],\"created\":1795437451,\"model\":"
    "\"local-chat\",\"system_fingerprint\":\"b0-unknown\",\"object\":\"chat.completion\",\"usage\":"
    "{\"completion_tokens\":5,\"prompt_tokens\":16,\"total_tokens\":21},\"id\":"
    "\"chatcmpl-UCrmcJgBKum5B4i1kIg1LhgAb843zEMy\"}";
#define EVENT(members)                                                                            \
  "data: {\"choices\":" members ",\"created\":1795437451,\"id\":"                                  \
  "\"chatcmpl-UCrmcJgBKum5B4i1kIg1LhgAb843zEMy\",\"model\":\"local-chat\","                        \
  "\"system_fingerprint\":\"b0-unknown\",\"object\":\"chat.completion.chunk\""
#define DELTA(text) \
  EVENT("[{\"finish_reason\":null,\"index\":0,\"delta\":{\"content\":\"" text "\"}}]") "}\n\n"
static const char *const TOKENS[] = {
    EVENT("[{\"finish_reason\":null,\"index\":0,\"delta\":{\"role\":\"assistant\","
          "\"content\":null}}]") ",\"prompt_progress\":{\"total\":16,\"cache\":0,"
          "\"processed\":16,\"time_ms\":1}}\n\n",
    DELTA("Hello"), DELTA(" from"), DELTA(" the"), DELTA(" fixed"), DELTA(" upstream."),
    EVENT("[{\"finish_reason\":\"stop\",\"index\":0,\"delta\":{}}]") "}\n\n",
    EVENT("[]") ",\"usage\":{\"completion_tokens\":5,\"prompt_tokens\":16,\"total_tokens\":21}}\n\n",
    "data: [DONE]\n\n"};
static const char MODELS[] =
    "{\"object\":\"list\",\"data\":[{\"id\":\"local-chat\",\"object\":\"model\",\"created\":0,"
    "\"owned_by\":\"local\",\"meta\":{\"n_ctx\":8192,\"parallel\":256,\"status\":\"ready\"}}]}";

struct conn {
  int open, sent, held;
  size_t have;
  char *in;
};
static struct conn conns[MOST];
static int active;

static void put(int fd, const char *text, size_t n) {
  while (n > 0) {
    ssize_t w = send(fd, text, n, MSG_NOSIGNAL);
    if (w < 0 && errno == EAGAIN) {
      usleep(50);
      continue;
    }
    if (w <= 0) return;
    text += w;
    n -= (size_t)w;
  }
}

static void put_whole(int fd, const char *type, const char *body) {
  char head[8192];
  int n = snprintf(head, sizeof head,
                   "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s", type,
                   strlen(body), body);
  put(fd, head, (size_t)n);
}

static void put_event(int fd, const char *event) {
  char out[2048];
  int n = snprintf(out, sizeof out, "%zx\r\n%s\r\n", strlen(event), event);
  put(fd, out, (size_t)n);
}

static void drop(int fd) {
  struct conn *c = &conns[fd];
  if (c->sent || c->held) active--;
  free(c->in);
  memset(c, 0, sizeof *c);
  close(fd);
}

static void answer(int fd, char *request, size_t n) {
  struct conn *c = &conns[fd];
  if (strncmp(request, "GET /active", 11) == 0) {
    char text[32];
    snprintf(text, sizeof text, "%d", active);
    put_whole(fd, "text/plain", text);
  } else if (strncmp(request, "GET", 3) == 0) {
    put_whole(fd, "application/json", MODELS);
  } else if (memmem(request, n, "\"hold\":true", 11) || memmem(request, n, "\"hold\": true", 12)) {
    c->held = 1;
    active++;
  } else if (memmem(request, n, "\"stream\":true", 13) || memmem(request, n, "\"stream\": true", 14)) {
    const char *head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    put(fd, head, strlen(head));
    if (memmem(request, n, "\"return_progress\":true", 22)) {
      for (size_t i = 0; i < sizeof TOKENS / sizeof *TOKENS; i++) put_event(fd, TOKENS[i]);
      put(fd, "0\r\n\r\n", 5);
      return;
    }
    c->sent = 1;
    active++;
    put_event(fd, CHUNK);
  } else {
    put_whole(fd, "application/json", WHOLE);
  }
}

/* Whole requests at the start of the buffer are answered and taken out. */
static void take(int fd) {
  struct conn *c = &conns[fd];
  while (c->open) {
    c->in[c->have] = 0;
    char *end = strstr(c->in, "\r\n\r\n");
    if (!end) return;
    size_t head = (size_t)(end - c->in) + 4, body = 0;
    char *length = strcasestr(c->in, "content-length:");
    if (length && length < end) body = strtoul(length + 15, NULL, 10);
    if (c->have < head + body) return;
    answer(fd, c->in, head + body);
    memmove(c->in, c->in + head + body, c->have - head - body);
    c->have -= head + body;
  }
}

static int serve(void) {
  prctl(PR_SET_PDEATHSIG, SIGTERM); /* nobody is left to stop us otherwise */
  int listener = socket(AF_INET, SOCK_STREAM, 0), epoll = epoll_create1(0);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof at;
  if (bind(listener, (void *)&at, sizeof at) || listen(listener, 1024)) return 1;
  getsockname(listener, (void *)&at, &length);
  printf("%d\n", ntohs(at.sin_port));
  fflush(stdout);
  int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  struct itimerspec every = {.it_interval.tv_nsec = 1000000, .it_value.tv_nsec = 1000000};
  timerfd_settime(timer, 0, &every, NULL);
  struct epoll_event e = {.events = EPOLLIN, .data.fd = listener}, got[256];
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &e);
  e.data.fd = timer;
  epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &e);
  for (unsigned long tick = 0;;) {
    int n = epoll_wait(epoll, got, 256, 1000);
    for (int i = 0; i < n; i++) {
      int fd = got[i].data.fd;
      if (fd == listener) {
        int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (client < 0) continue;
        if (client >= MOST) { close(client); continue; }
        no_delay(client);
        conns[client] = (struct conn){.open = 1, .in = malloc(ROOM + 1)};
        e = (struct epoll_event){.events = EPOLLIN, .data.fd = client};
        epoll_ctl(epoll, EPOLL_CTL_ADD, client, &e);
      } else if (fd == timer) {
        unsigned long long ticks;
        if (read(timer, &ticks, sizeof ticks) < 0) continue;
        for (; ticks > 0; ticks--, tick++)
          for (int c = 0; active && c < MOST; c++) {
            if (!conns[c].sent || tick % GAP_MS != (unsigned)c % GAP_MS) continue;
            if (++conns[c].sent < CHUNKS) {
              put_event(c, CHUNK);
            } else {
              put_event(c, LAST);
              put(c, "0\r\n\r\n", 5);
              conns[c].sent = 0;
              active--;
            }
          }
      } else {
        struct conn *c = &conns[fd];
        if (c->have >= ROOM) { drop(fd); continue; }
        ssize_t r = recv(fd, c->in + c->have, ROOM - c->have, 0);
        if (r < 0 && errno == EAGAIN) continue;
        if (r <= 0) { drop(fd); continue; }
        c->have += (size_t)r;
        take(fd);
      }
    }
  }
}

/* ---- load ---- */

struct client {
  int fd, events, chunked, headed;
  long long begun, first;
  size_t want, have;
  char tail[8];
};

static int by_size(const void *a, const void *b) {
  long long x = *(const long long *)a, y = *(const long long *)b;
  return (x > y) - (x < y);
}

static int dial(const char *host, int port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  inet_pton(AF_INET, host, &at.sin_addr);
  if (connect(fd, (void *)&at, sizeof at)) { close(fd); return -1; }
  no_delay(fd);
  return fd;
}

static void percentiles(const char *name, long long *all, int n) {
  qsort(all, (size_t)n, sizeof *all, by_size);
  printf("\"%s\": {\"p50\": %lld, \"p90\": %lld, \"p99\": %lld}, ", name, n ? all[n / 2] : 0,
         n ? all[n * 9 / 10] : 0, n ? all[(int)(n * 0.99)] : 0);
}

static int load(int argc, char **argv) {
  const char *host = argv[2];
  int port = atoi(argv[3]), width = atoi(argv[4]), total = atoi(argv[5]);
  static char body[1 << 20], request[(1 << 20) + 8192], in[1 << 18];
  FILE *file = fopen(argv[6], "rb");
  size_t length = file ? fread(body, 1, sizeof body, file) : 0;
  if (!length || width > MOST) return 2;
  int head = snprintf(request, 8192,
                      "POST /v1/chat/completions HTTP/1.1\r\nHost: %s:%d\r\n"
                      "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                      host, port, length);
  for (int i = 7; i < argc; i++)
    head += snprintf(request + head, 8192 - (size_t)head, "%s\r\n", argv[i]);
  head += snprintf(request + head, 8192 - (size_t)head, "\r\n");
  memcpy(request + head, body, length);
  size_t size = (size_t)head + length;
  struct client *clients = calloc((size_t)width, sizeof *clients);
  long long *took = calloc((size_t)total, sizeof *took);
  long long *firsts = calloc((size_t)total, sizeof *firsts), bytes = 0, events = 0;
  int epoll = epoll_create1(0), sent = 0, done = 0, failed = 0;
  long long start = now_ns();
  for (int i = 0; i < width && sent < total; i++) {
    struct client *c = &clients[i];
    c->fd = dial(host, port);
    if (c->fd < 0) return 3;
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = (unsigned)i};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e);
    c->begun = now_ns();
    put(c->fd, request, size);
    sent++;
  }
  struct epoll_event got[256];
  while (done + failed < total) {
    int n = epoll_wait(epoll, got, 256, 60000);
    if (n <= 0) { failed = total - done; break; }
    for (int i = 0; i < n; i++) {
      unsigned which = got[i].data.u32;
      struct client *c = &clients[which];
      ssize_t r = recv(c->fd, in, sizeof in - 1, 0);
      int whole = 0, broken = r <= 0;
      if (!broken) {
        bytes += r;
        char *data = in;
        size_t m = (size_t)r;
        in[r] = 0;
        if (!c->first) c->first = now_ns();
        if (!c->headed) {
          char *end = strstr(in, "\r\n\r\n"); /* heads come whole from all targets here */
          if (!end) continue;
          if (strncmp(in + 9, "200", 3)) broken = 1;
          *end = 0;
          char *want = strcasestr(in, "content-length:");
          c->chunked = strcasestr(in, "chunked") != NULL;
          c->want = want ? strtoul(want + 15, NULL, 10) : 0;
          c->headed = 1;
          data = end + 4;
          m = (size_t)(in + r - data);
        }
        for (char *p = data; (p = memmem(p, m - (size_t)(p - data), "data: {", 7)); p += 7) c->events++;
        c->have += m;
        if (c->chunked) {
          char tail[14];
          memcpy(tail, c->tail, 7);
          size_t k = m < 7 ? m : 7;
          memcpy(tail + 7, data + m - k, k);
          memcpy(c->tail, tail + k, 7);
          whole = memcmp(c->tail, "\r\n0\r\n\r\n", 7) == 0;
        } else {
          whole = c->have >= c->want;
        }
      }
      if (broken) {
        failed++;
        close(c->fd);
        c->fd = dial(host, port);
        if (c->fd < 0) return 3;
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = which};
        epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e);
      } else if (whole) {
        took[done] = now_ns() - c->begun;
        firsts[done++] = c->first - c->begun;
        events += c->events;
      } else {
        continue;
      }
      int fd = c->fd;
      *c = (struct client){.fd = fd};
      if (sent < total) {
        c->begun = now_ns();
        put(fd, request, size);
        sent++;
      }
    }
  }
  double seconds = (double)(now_ns() - start) / 1e9;
  printf("{\"seconds\": %.6f, \"done\": %d, \"failed\": %d, \"events\": %lld, \"bytes\": %lld, ", seconds,
         done, failed, events, bytes);
  percentiles("first", firsts, done);
  percentiles("whole", took, done);
  printf("\"requests\": %d}\n", total);
  return 0;
}

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  if (argc > 1 && strcmp(argv[1], "serve") == 0) return serve();
  if (argc > 6 && strcmp(argv[1], "load") == 0) return load(argc, argv);
  fprintf(stderr, "fast serve | fast load HOST PORT CONNECTIONS REQUESTS BODYFILE [HEADER...]\n");
  return 2;
}
