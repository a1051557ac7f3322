/* Uses one file or directory in one way, for tests/engine/touched/table.rs.
 *
 *   uses MODE DIRECTORY
 *
 * Sets the use up, writes "ready", waits for a line, uses the data, writes "done", and ends when its input does.
 * DIRECTORY has a file "f" of some pages.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif

static char file[4096], page[4096];

static void must(int good, const char *what) {
    if (!good) {
        perror(what);
        exit(1);
    }
}

static void wait_for_the_word(void) {
    puts("ready");
    fflush(stdout);
    char line[16];
    must(fgets(line, sizeof line, stdin) != NULL, "no word");
}

/* One request to a ring whose only registered file is a descriptor that is closed by now. */
static void ring(int write_it) {
    int fd = open(file, O_RDWR);
    must(fd >= 0, "open");
    struct io_uring_params parameters = {0};
    int ring = (int)syscall(__NR_io_uring_setup, 4, &parameters);
    must(ring >= 0, "io_uring_setup");
    must(syscall(__NR_io_uring_register, ring, IORING_REGISTER_FILES, &fd, 1) == 0, "io_uring_register");
    close(fd);
    size_t size = parameters.sq_off.array + parameters.sq_entries * sizeof(unsigned);
    char *queue = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQ_RING);
    struct io_uring_sqe *entry = mmap(NULL, parameters.sq_entries * sizeof *entry, PROT_READ | PROT_WRITE,
                                      MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES);
    must(queue != MAP_FAILED && entry != MAP_FAILED, "mmap");
    wait_for_the_word();
    memset(entry, 0, sizeof *entry);
    entry->opcode = write_it ? IORING_OP_WRITE : IORING_OP_READ;
    entry->flags = IOSQE_FIXED_FILE;
    entry->fd = 0;
    entry->addr = (uint64_t)(uintptr_t)page;
    entry->len = sizeof page;
    unsigned *tail = (unsigned *)(queue + parameters.sq_off.tail);
    ((unsigned *)(queue + parameters.sq_off.array))[*tail & *(unsigned *)(queue + parameters.sq_off.ring_mask)] = 0;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
    must(syscall(__NR_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1, "io_uring_enter");
}

static void *in_a_thread(void *unused) {
    (void)unused;
    must(unshare(CLONE_FILES) == 0, "unshare");
    int fd = open(file, O_RDONLY);
    must(fd >= 0, "open");
    wait_for_the_word();
    must(read(fd, page, sizeof page) > 0, "read");
    return NULL;
}

int main(int count, char **words) {
    must(count == 3, "usage");
    const char *mode = words[1], *directory = words[2];
    snprintf(file, sizeof file, "%s/f", directory);
    int is_write = strstr(mode, "write") != NULL;
    if (strncmp(mode, "open", 4) == 0) {
        int fd = open(file, is_write ? O_WRONLY : O_RDONLY);
        must(fd >= 0, "open");
        wait_for_the_word();
        must((is_write ? write(fd, page, 100) : read(fd, page, sizeof page)) > 0, "use");
    } else if (strncmp(mode, "map", 3) == 0) {
        int fd = open(file, O_RDWR);
        must(fd >= 0, "open");
        volatile char *mapped = mmap(NULL, 8192, PROT_READ | (is_write ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
        must(mapped != MAP_FAILED, "mmap");
        close(fd);
        wait_for_the_word();
        if (is_write) {
            mapped[4096] = 'x';
            must(msync((void *)mapped, 8192, MS_SYNC) == 0, "msync");
        } else {
            page[0] = mapped[4096];
        }
    } else if (strncmp(mode, "ring", 4) == 0) {
        ring(is_write);
    } else if (strcmp(mode, "detached") == 0) {
        int tree = (int)syscall(__NR_open_tree, AT_FDCWD, directory, OPEN_TREE_CLONE);
        must(tree >= 0, "open_tree");
        wait_for_the_word();
        int fd = openat(tree, "f", O_RDONLY);
        must(fd >= 0 && read(fd, page, sizeof page) > 0, "read");
        close(fd);
    } else if (strcmp(mode, "thread") == 0) {
        pthread_t thread;
        must(pthread_create(&thread, NULL, in_a_thread, NULL) == 0, "pthread_create");
        pthread_join(thread, NULL);
    } else if (strcmp(mode, "watch") == 0) {
        int watch = inotify_init1(0);
        must(inotify_add_watch(watch, directory, IN_ALL_EVENTS) >= 0, "inotify_add_watch");
        wait_for_the_word();
        struct pollfd ready = {.fd = watch, .events = POLLIN};
        poll(&ready, 1, 10);
    } else if (strcmp(mode, "socket") == 0) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        must(chdir(directory) == 0, "chdir");
        strcpy(address.sun_path, "s");
        int listening = socket(AF_UNIX, SOCK_STREAM, 0);
        must(bind(listening, (void *)&address, sizeof address) == 0 && listen(listening, 1) == 0, "listen");
        must(chdir("/") == 0, "chdir");
        wait_for_the_word();
    } else {
        fprintf(stderr, "no mode %s\n", mode);
        return 2;
    }
    puts("done");
    fflush(stdout);
    while (getchar() != EOF) {
    }
    return 0;
}
