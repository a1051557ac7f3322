/* Holds a file in a way that no descriptor shows, says "ready", and waits: holder HOW PATH [PATH]. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static char *path;

static int check(const char *what, long result) {
    if (result < 0) {
        perror(what);
        exit(1);
    }
    return result;
}

static void wait_here(void) {
    puts("ready");
    fflush(stdout);
    for (;;) pause();
}

static void *own_table(void *unused) {
    check("unshare", unshare(CLONE_FILES));
    check("open", open(path, O_RDONLY));
    wait_here();
    return unused;
}

static void *own_namespace(void *unused) {
    check("unshare", unshare(CLONE_FS | CLONE_NEWNS));
    check("private", mount(0, "/", 0, MS_REC | MS_PRIVATE, 0));
    check("mount", mount(path, "/mnt", 0, MS_BIND, 0));
    wait_here();
    return unused;
}

/* An overlay with one layer given as a descriptor, of which the kernel tells no path. */
static int overlay_of(int layer, const char *low) {
    enum { SET_STRING = 1, SET_FD = 5, CREATE = 6 };
    int context = check("fsopen", syscall(430, "overlay", 0));
    if (layer >= 0) check("layer", syscall(431, context, SET_FD, "lowerdir+", 0, layer));
    else check("layer", syscall(431, context, SET_STRING, "lowerdir+", path, 0));
    check("low", syscall(431, context, SET_STRING, "lowerdir+", low, 0));
    check("create", syscall(431, context, CREATE, 0, 0, 0));
    int mount_ = check("fsmount", syscall(432, context, 0, 0));
    close(context);
    return mount_;
}

/* A file by its handle, opened through a mount in which it is not, or not yet known by a name. */
static int by_handle(const char *through) {
    struct { struct file_handle head; char rest[MAX_HANDLE_SZ]; } handle = {.head = {.handle_bytes = MAX_HANDLE_SZ}};
    int id;
    check("handle", name_to_handle_at(AT_FDCWD, path, &handle.head, &id, 0));
    int caches = check("drop_caches", open("/proc/sys/vm/drop_caches", O_WRONLY));
    check("write", write(caches, "2", 1));
    close(caches);
    int mount_ = check("through", open(through, O_RDONLY));
    int file = check("open_by_handle_at", open_by_handle_at(mount_, &handle.head, O_RDONLY));
    close(mount_);
    return file;
}

static int is(const char *one, const char *other) { return strcmp(one, other) == 0; }

int main(int count, char **words) {
    char *how = words[1];
    path = words[2];
    (void)count;
    if (is(how, "ring")) {
        struct io_uring_params plain = {0};
        int ring = check("io_uring_setup", syscall(__NR_io_uring_setup, 4, &plain));
        int file = check("open", open(path, O_RDONLY));
        check("register", syscall(__NR_io_uring_register, ring, IORING_REGISTER_FILES, &file, 1));
        close(file);
    } else if (is(how, "tree")) {
        check("open_tree", syscall(428, AT_FDCWD, path, 1 | O_CLOEXEC));
    } else if (is(how, "in-tree")) {
        int tree = check("open_tree", syscall(428, AT_FDCWD, path, 1 | O_CLOEXEC));
        check("openat", openat(tree, words[3], O_RDONLY));
        close(tree);
    } else if (is(how, "map-tree")) {
        int tree = check("open_tree", syscall(428, AT_FDCWD, path, 1 | O_CLOEXEC));
        int file = check("openat", openat(tree, words[3], O_RDONLY));
        if (mmap(0, 4096, PROT_READ, MAP_SHARED, file, 0) == MAP_FAILED) check("mmap", -1);
        close(file);
        close(tree);
    } else if (is(how, "map")) {
        int file = check("open", open(path, O_RDONLY));
        if (mmap(0, 4096, PROT_READ, MAP_SHARED, file, 0) == MAP_FAILED) check("mmap", -1);
        close(file);
    } else if (is(how, "thread") || is(how, "left-thread") || is(how, "mount-in-thread")) {
        pthread_t thread;
        pthread_create(&thread, 0, is(how, "mount-in-thread") ? own_namespace : own_table, 0);
        /* The first thread ends, and the process is shown as a zombie. */
        if (is(how, "left-thread")) syscall(__NR_exit, 0);
        pthread_join(thread, 0);
    } else if (is(how, "many")) {
        /* In the middle of many others. */
        long others = atol(words[4]);
        struct rlimit limit;
        check("getrlimit", getrlimit(RLIMIT_NOFILE, &limit));
        limit.rlim_cur = limit.rlim_max;
        check("setrlimit", setrlimit(RLIMIT_NOFILE, &limit));
        int other = check("open", open(words[3], O_RDONLY | O_CREAT, 0600));
        for (long number = 0; number < others; number++) {
            check("dup", dup(other));
            if (number == others / 2) check("open", open(path, O_RDONLY));
        }
    } else if (is(how, "inotify")) {
        check("inotify", inotify_add_watch(check("init", inotify_init()), path, IN_ALL_EVENTS));
    } else if (is(how, "fanotify")) {
        int group = check("fanotify_init", fanotify_init(FAN_CLASS_NOTIF, O_RDONLY));
        check("fanotify_mark", fanotify_mark(group, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, path));
    } else if (is(how, "socket") || is(how, "datagrams")) {
        /* Relative to a directory or descriptor that does not stay, as daemons do; perhaps renamed when it is ready. */
        check("dup2", dup2(open(path, O_RDONLY | O_DIRECTORY), 13));
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        strncpy(address.sun_path, words[3], sizeof address.sun_path - 1);
        int is_stream = is(how, "socket");
        int socket_ = check("socket", socket(AF_UNIX, is_stream ? SOCK_STREAM : SOCK_DGRAM, 0));
        check("chdir", chdir(path));
        check("bind", bind(socket_, (struct sockaddr *)&address, sizeof address));
        if (is_stream) check("listen", listen(socket_, 5));
        for (int other = 3; other <= 13; other++)
            if (other != socket_) close(other);
        if (count > 4) check("rename", rename(words[3], words[4]));
        check("chdir", chdir("/"));
    } else if (is(how, "layer")) {
        /* holder layer TREE NAME LOW AT */
        int tree = check("open_tree", syscall(428, AT_FDCWD, path, 1 | O_CLOEXEC));
        int layer = is(words[3], ".") ? tree : check("openat", openat(tree, words[3], O_PATH));
        check("move_mount", syscall(429, overlay_of(layer, words[4]), "", AT_FDCWD, words[5], 4));
        return 0;
    } else if (is(how, "unmounted")) {
        overlay_of(-1, words[3]);
    } else if (is(how, "handle")) {
        by_handle(words[3]);
    } else if (is(how, "handle-mount")) {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", by_handle(words[3]));
        check("mount", mount(link, words[4], 0, MS_BIND, 0));
        return 0;
    } else if (is(how, "other-name")) {
        /* Its other name is all that is left of it. */
        check("open", open(words[3], O_RDWR | O_CREAT, 0600));
        check("link", link(words[3], path));
        check("unlink", unlink(words[3]));
    } else if (is(how, "erofs")) {
        check("mount", mount(path, words[3], "erofs", MS_RDONLY, ""));
        return 0;
    } else {
        return 2;
    }
    wait_here();
}
