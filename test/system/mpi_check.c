// SPDX-License-Identifier: BSD-3-Clause
//
// mpi_check: an MPI program that checks its results. Point-to-point in eager and rendezvous sizes, a ring,
// collectives, one-sided communication with fences and with passive locks.
//
//   mpirun -np 4 --host host1:2,host2:2 mpi_check
//
// Rank 0 prints a line `ok NAME` or `not ok NAME - why` for each test. Exit status 0 if all passed.

#include <mpi.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { max_why = 256, rma_slots = 64 };

static int rank, ranks;

// What is wrong on this rank in the present test; empty if nothing is.
static char why[max_why];

__attribute__((format(printf, 1, 2))) static void complain(const char* format, ...) {
  va_list args;
  int length;

  if (why[0] != '\0') return;
  length = snprintf(why, sizeof(why), "rank %d: ", rank);
  va_start(args, format);
  vsnprintf(why + length, sizeof(why) - (size_t)length, format, args);
  va_end(args);
}

static void* allocate(size_t bytes) {
  void* memory = malloc(bytes == 0 ? 1 : bytes);

  if (memory == NULL) {
    fprintf(stderr, "rank %d: out of memory\n", rank);
    MPI_Abort(MPI_COMM_WORLD, 2);
  }
  return memory;
}

// The byte at `position` of message `number` from rank `from`.
static unsigned char pattern(int from, unsigned int number, size_t position) {
  uint64_t x = (uint64_t)from * 0x9e3779b97f4a7c15u + number * 0xbf58476d1ce4e5b9u + position;

  x ^= x >> 31;
  x *= 0x94d049bb133111ebu;
  return (unsigned char)(x >> 56);
}

static void fill(unsigned char* buffer, size_t length, int from, unsigned int number) {
  for (size_t i = 0; i < length; i++)
    buffer[i] = pattern(from, number, i);
}

static void check(const unsigned char* buffer, size_t length, int from, unsigned int number) {
  for (size_t i = 0; i < length; i++) {
    const unsigned char expected = pattern(from, number, i);

    if (buffer[i] != expected) {
      complain("message %u of rank %d, %zu bytes: byte %zu: expected %#04x, got %#04x", number, from, length,
               i, expected, buffer[i]);
      return;
    }
  }
}

// Around the eager limits of UCX and Open MPI, and beyond them. The last one is for the ring alone, because
// emulated hosts are slow.
static const size_t sizes[] = {0,    1,    7,     8,     63,    64,     1000,    4095,   8191,
                               8192, 8256, 16385, 65535, 65536, 131073, 1048576, 4194305};
#define n_sizes ((unsigned int)(sizeof(sizes) / sizeof(sizes[0])))
#define n_most_sizes (n_sizes - 1)

// Every ordered pair of ranks, one after the other.
static void test_point_to_point(void) {
  for (unsigned int n = 0; n < n_most_sizes; n++) {
    unsigned char* buffer = allocate(sizes[n] + 1);

    for (int from = 0; from < ranks; from++) {
      for (int to = 0; to < ranks; to++) {
        if (from == to) continue;
        if (rank == from) {
          fill(buffer, sizes[n], from, n);
          MPI_Send(buffer, (int)sizes[n], MPI_BYTE, to, (int)n, MPI_COMM_WORLD);
        } else if (rank == to) {
          MPI_Status status;
          int got = -1;

          memset(buffer, 0xa5, sizes[n] + 1);
          MPI_Recv(buffer, (int)sizes[n], MPI_BYTE, from, (int)n, MPI_COMM_WORLD, &status);
          MPI_Get_count(&status, MPI_BYTE, &got);
          if (got != (int)sizes[n] || status.MPI_SOURCE != from || status.MPI_TAG != (int)n)
            complain("expected %zu bytes of rank %d, tag %u; got %d of %d, tag %d", sizes[n], from, n, got,
                     status.MPI_SOURCE, status.MPI_TAG);
          check(buffer, sizes[n], from, n);
          if (buffer[sizes[n]] != 0xa5) complain("the byte behind %zu bytes was written", sizes[n]);
        }
      }
    }
    free(buffer);
  }
}

// All ranks send to all others at once, receives are posted late and in the opposite order.
static void test_nonblocking_all_pairs(void) {
  enum { per_pair = 12 };
  const int count = (ranks - 1) * per_pair;
  MPI_Request* requests = allocate(2 * (size_t)count * sizeof(*requests));
  unsigned char** buffers = allocate(2 * (size_t)count * sizeof(*buffers));
  int n = 0;

  for (int peer = 0; peer < ranks; peer++) {
    for (unsigned int i = 0; peer != rank && i < per_pair; i++, n++) {
      buffers[n] = allocate(sizes[i + 3]);
      fill(buffers[n], sizes[i + 3], rank, i);
      MPI_Isend(buffers[n], (int)sizes[i + 3], MPI_BYTE, peer, (int)i, MPI_COMM_WORLD, &requests[n]);
    }
  }
  MPI_Barrier(MPI_COMM_WORLD);
  for (int peer = ranks - 1; peer >= 0; peer--) {
    for (unsigned int i = per_pair; peer != rank && i-- > 0; n++) {
      buffers[n] = allocate(sizes[i + 3]);
      MPI_Irecv(buffers[n], (int)sizes[i + 3], MPI_BYTE, peer, (int)i, MPI_COMM_WORLD, &requests[n]);
    }
  }
  MPI_Waitall(n, requests, MPI_STATUSES_IGNORE);
  n = count;
  for (int peer = ranks - 1; peer >= 0; peer--) {
    for (unsigned int i = per_pair; peer != rank && i-- > 0; n++)
      check(buffers[n], sizes[i + 3], peer, i);
  }
  while (n-- > 0)
    free(buffers[n]);
  free(buffers);
  free(requests);
}

static void test_sendrecv_ring(void) {
  const int next = (rank + 1) % ranks, previous = (rank + ranks - 1) % ranks;

  for (unsigned int n = 0; n < n_sizes; n++) {
    unsigned char *out = allocate(sizes[n]), *in = allocate(sizes[n]);

    for (unsigned int round = 0; round < 2; round++) {
      fill(out, sizes[n], rank, n + round);
      MPI_Sendrecv(out, (int)sizes[n], MPI_BYTE, next, 1, in, (int)sizes[n], MPI_BYTE, previous, 1,
                   MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      check(in, sizes[n], previous, n + round);
    }
    free(out);
    free(in);
  }
}

static void test_vector_type(void) {
  enum { blocks = 3000, block = 7, stride = 11 };
  const int peer = rank ^ 1;
  int* matrix = allocate(sizeof(int) * blocks * stride);
  MPI_Datatype column;

  if (peer >= ranks) {
    free(matrix);
    return;
  }
  MPI_Type_vector(blocks, block, stride, MPI_INT, &column);
  MPI_Type_commit(&column);
  for (int i = 0; i < blocks * stride; i++)
    matrix[i] = rank * 1000000 + i;
  MPI_Sendrecv_replace(matrix, 1, column, peer, 2, peer, 2, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  for (int i = 0; i < blocks * stride; i++) {
    const int moved = i % stride < block && i / stride < blocks;
    const int expected = (moved ? peer : rank) * 1000000 + i;

    if (matrix[i] != expected) {
      complain("element %d: expected %d, got %d", i, expected, matrix[i]);
      break;
    }
  }
  MPI_Type_free(&column);
  free(matrix);
}

static void test_bcast(void) {
  for (int root = 0; root < ranks; root++) {
    for (unsigned int n = 0; n < n_most_sizes; n++) {
      unsigned char* buffer = allocate(sizes[n]);

      if (rank == root) fill(buffer, sizes[n], root, n);
      MPI_Bcast(buffer, (int)sizes[n], MPI_BYTE, root, MPI_COMM_WORLD);
      check(buffer, sizes[n], root, n);
      free(buffer);
    }
  }
}

static void test_allreduce(void) {
  static const int counts[] = {1, 3, 1000, 8192, 100003};

  for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
    const int count = counts[c];
    int64_t *in = allocate((size_t)count * sizeof(*in)), *out = allocate((size_t)count * sizeof(*out));

    for (int i = 0; i < count; i++)
      in[i] = (int64_t)(rank + 1) * (i + 1);
    MPI_Allreduce(in, out, count, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
    for (int i = 0; i < count; i++) {
      const int64_t expected = (int64_t)ranks * (ranks + 1) / 2 * (i + 1);

      if (out[i] != expected) {
        complain("sum of %d numbers: number %d: expected %lld, got %lld", count, i, (long long)expected,
                 (long long)out[i]);
        break;
      }
    }
    MPI_Allreduce(in, out, count, MPI_INT64_T, MPI_MAX, MPI_COMM_WORLD);
    if (out[count - 1] != (int64_t)ranks * count)
      complain("maximum of %d numbers: expected %lld, got %lld", count, (long long)ranks * count,
               (long long)out[count - 1]);
    free(in);
    free(out);
  }
}

static void test_alltoall(void) {
  static const size_t blocks[] = {1, 100, 8192, 100001, 1048576};

  for (size_t b = 0; b < sizeof(blocks) / sizeof(blocks[0]); b++) {
    const size_t block = blocks[b];
    unsigned char *in = allocate(block * (size_t)ranks), *out = allocate(block * (size_t)ranks);

    for (int to = 0; to < ranks; to++)
      fill(out + block * (size_t)to, block, rank, (unsigned int)to);
    MPI_Alltoall(out, (int)block, MPI_BYTE, in, (int)block, MPI_BYTE, MPI_COMM_WORLD);
    for (int from = 0; from < ranks; from++)
      check(in + block * (size_t)from, block, from, (unsigned int)rank);
    free(in);
    free(out);
  }
}

// Each rank writes its own part of every other rank's window, and reads it back, between fences.
static void test_rma_fence(void) {
  static const size_t parts[] = {1, 8, 1000, 65536, 1048577};

  for (size_t p = 0; p < sizeof(parts) / sizeof(parts[0]); p++) {
    const size_t part = parts[p], bytes = part * (size_t)ranks;
    unsigned char *memory = NULL, *local = allocate(bytes), *back = allocate(bytes);
    MPI_Win window;

    MPI_Win_allocate((MPI_Aint)bytes, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &memory, &window);
    memset(memory, 0, bytes);
    MPI_Win_fence(0, window);
    for (int to = 0; to < ranks; to++) {
      fill(local + part * (size_t)to, part, rank, (unsigned int)to);
      MPI_Put(local + part * (size_t)to, (int)part, MPI_BYTE, to, (MPI_Aint)(part * (size_t)rank), (int)part,
              MPI_BYTE, window);
    }
    MPI_Win_fence(0, window);
    for (int from = 0; from < ranks; from++)
      check(memory + part * (size_t)from, part, from, (unsigned int)rank);
    for (int from = 0; from < ranks; from++)
      MPI_Get(back + part * (size_t)from, (int)part, MPI_BYTE, from, (MPI_Aint)(part * (size_t)rank),
              (int)part, MPI_BYTE, window);
    MPI_Win_fence(0, window);
    if (memcmp(back, local, bytes) != 0)
      complain("parts of %zu bytes: what was put is not what was got", part);
    MPI_Win_free(&window);
    free(local);
    free(back);
  }
}

static void test_rma_accumulate(void) {
  enum { count = 5000 };
  int64_t *memory = NULL, *ones = allocate(count * sizeof(*ones));
  MPI_Win window;

  MPI_Win_allocate(count * sizeof(*memory), sizeof(*memory), MPI_INFO_NULL, MPI_COMM_WORLD, &memory, &window);
  for (int i = 0; i < count; i++) {
    memory[i] = i;
    ones[i] = rank + 1;
  }
  MPI_Win_fence(0, window);
  for (int to = 0; to < ranks; to++)
    MPI_Accumulate(ones, count, MPI_INT64_T, to, 0, count, MPI_INT64_T, MPI_SUM, window);
  MPI_Win_fence(0, window);
  for (int i = 0; i < count; i++) {
    const int64_t expected = i + (int64_t)ranks * (ranks + 1) / 2;

    if (memory[i] != expected) {
      complain("element %d: expected %lld, got %lld", i, (long long)expected, (long long)memory[i]);
      break;
    }
  }
  MPI_Win_free(&window);
  free(ones);
}

// All ranks draw numbers from one counter of rank 0 and write each into its slot: none is drawn twice.
static void test_rma_fetch_and_op(void) {
  int64_t* memory = NULL;
  const int64_t one = 1, me = rank + 1;
  int64_t drawn = -1, last = -1;
  MPI_Win window;

  MPI_Win_allocate((rma_slots + 1) * sizeof(*memory), sizeof(*memory), MPI_INFO_NULL, MPI_COMM_WORLD, &memory,
                   &window);
  MPI_Win_lock(MPI_LOCK_EXCLUSIVE, rank, 0, window);
  memset(memory, 0, (rma_slots + 1) * sizeof(*memory));
  MPI_Win_unlock(rank, window);
  MPI_Barrier(MPI_COMM_WORLD);
  MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, window);
  for (int i = 0; i < rma_slots / ranks; i++) {
    MPI_Fetch_and_op(&one, &drawn, MPI_INT64_T, 0, 0, MPI_SUM, window);
    MPI_Win_flush(0, window);
    if (drawn <= last || drawn >= rma_slots) {
      complain("drew %lld after %lld", (long long)drawn, (long long)last);
      break;
    }
    MPI_Put(&me, 1, MPI_INT64_T, 0, (MPI_Aint)(1 + drawn), 1, MPI_INT64_T, window);
    MPI_Win_flush(0, window);
    last = drawn;
  }
  MPI_Win_unlock(0, window);
  MPI_Barrier(MPI_COMM_WORLD);
  if (rank == 0) {
    const int64_t total = (int64_t)(rma_slots / ranks) * ranks;

    MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, window);
    if (memory[0] != total)
      complain("counter: expected %lld, got %lld", (long long)total, (long long)memory[0]);
    for (int64_t i = 1; i <= total; i++) {
      if (memory[i] < 1 || memory[i] > ranks)
        complain("slot %lld holds %lld", (long long)i, (long long)memory[i]);
    }
    MPI_Win_unlock(0, window);
  }
  MPI_Win_free(&window);
}

// Exclusive locks exclude: read, add, write back loses no update.
static void test_rma_lock(void) {
  enum { rounds = 20 };
  int64_t *memory = NULL, value = 0;
  MPI_Win window;

  MPI_Win_allocate(sizeof(*memory), sizeof(*memory), MPI_INFO_NULL, MPI_COMM_WORLD, &memory, &window);
  MPI_Win_lock(MPI_LOCK_EXCLUSIVE, rank, 0, window);
  *memory = 0;
  MPI_Win_unlock(rank, window);
  MPI_Barrier(MPI_COMM_WORLD);
  for (int i = 0; i < rounds; i++) {
    MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, window);
    MPI_Get(&value, 1, MPI_INT64_T, 0, 0, 1, MPI_INT64_T, window);
    MPI_Win_flush(0, window);
    value++;
    MPI_Put(&value, 1, MPI_INT64_T, 0, 0, 1, MPI_INT64_T, window);
    MPI_Win_unlock(0, window);
  }
  MPI_Barrier(MPI_COMM_WORLD);
  if (rank == 0) {
    MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, window);
    if (*memory != (int64_t)rounds * ranks)
      complain("expected %d, got %lld", rounds * ranks, (long long)*memory);
    MPI_Win_unlock(0, window);
  }
  MPI_Win_free(&window);
}

static const struct test {
  const char* name;
  void (*run)(void);
} tests[] = {
    {"point-to-point", test_point_to_point},
    {"nonblocking-all-pairs", test_nonblocking_all_pairs},
    {"sendrecv-ring", test_sendrecv_ring},
    {"vector-type", test_vector_type},
    {"bcast", test_bcast},
    {"allreduce", test_allreduce},
    {"alltoall", test_alltoall},
    {"rma-fence", test_rma_fence},
    {"rma-accumulate", test_rma_accumulate},
    {"rma-fetch-and-op", test_rma_fetch_and_op},
    {"rma-lock", test_rma_lock},
};
#define n_tests (sizeof(tests) / sizeof(tests[0]))

// Tells rank 0 what is wrong on the ranks; prints the line. Returns whether all is well, on every rank.
static int report(const char* name) {
  int bad = why[0] != '\0', first = ranks, candidate = bad ? rank : ranks;

  MPI_Allreduce(&candidate, &first, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
  if (first < ranks) MPI_Bcast(why, max_why, MPI_CHAR, first, MPI_COMM_WORLD);
  if (rank == 0) {
    if (first < ranks)
      printf("not ok %s - %s\n", name, why);
    else
      printf("ok %s\n", name);
    fflush(stdout);
  }
  why[0] = '\0';
  return first == ranks;
}

int main(int argc, char** argv) {
  char host[128] = "?";
  int all_good = 1;

  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  if (ranks < 2 || ranks > rma_slots) {
    if (rank == 0) fprintf(stderr, "mpi_check wants 2 to %d ranks\n", rma_slots);
    MPI_Finalize();
    return 2;
  }
  gethostname(host, sizeof(host) - 1);
  fprintf(stderr, "# rank %d of %d is process %ld on %s\n", rank, ranks, (long)getpid(), host);
  if (rank == 0) printf("1..%zu\n", n_tests);
  for (size_t i = 0; i < n_tests; i++) {
    if (argc > 1 && strcmp(argv[1], tests[i].name) != 0) continue;
    tests[i].run();
    all_good &= report(tests[i].name);
  }
  MPI_Finalize();
  return all_good ? 0 : 1;
}
