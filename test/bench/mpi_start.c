// SPDX-License-Identifier: BSD-3-Clause
//
// mpi_start: how long it takes an MPI program to get going. After MPI_Init every rank exchanges a message
// with every other.
//
//   mpirun -np 32 --host host1:16,host2:16 mpi_start
//
// Rank 0 prints `result mpi_init X ms`, `result first_messages X ms` and `result total X ms`: for each the
// longest that a rank took.

#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { n_times = 3 };

static double milliseconds(void) {
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

// One message there and one back with each other rank, all at the same time. Returns whether what came is
// right.
static int exchange_with_all(int rank, int ranks) {
  int64_t* in = calloc((size_t)ranks, sizeof(*in));
  MPI_Request* requests = calloc(2 * (size_t)ranks, sizeof(MPI_Request));
  const int64_t mine = rank + 1;
  int n = 0, good = 1;

  if (in == NULL || requests == NULL) {
    fprintf(stderr, "rank %d: out of memory\n", rank);
    MPI_Abort(MPI_COMM_WORLD, 2);
    abort();
  }
  for (int peer = 0; peer < ranks; peer++) {
    if (peer == rank) continue;
    MPI_Irecv(&in[peer], 1, MPI_INT64_T, peer, 0, MPI_COMM_WORLD, &requests[n++]);
    MPI_Isend(&mine, 1, MPI_INT64_T, peer, 0, MPI_COMM_WORLD, &requests[n++]);
  }
  MPI_Waitall(n, requests, MPI_STATUSES_IGNORE);
  for (int peer = 0; peer < ranks; peer++) {
    if (peer == rank || in[peer] == peer + 1) continue;
    fprintf(stderr, "rank %d: expected %d of rank %d, got %lld\n", rank, peer + 1, peer, (long long)in[peer]);
    good = 0;
  }
  free(requests);
  free(in);
  return good;
}

int main(int argc, char** argv) {
  static const char* const names[n_times] = {"mpi_init", "first_messages", "total"};
  const double begin = milliseconds();
  double initialised, connected, own[n_times], longest[n_times];
  int rank, ranks, good;

  MPI_Init(&argc, &argv);
  initialised = milliseconds();
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  good = exchange_with_all(rank, ranks);
  connected = milliseconds();
  MPI_Barrier(MPI_COMM_WORLD);
  own[0] = initialised - begin;
  own[1] = connected - initialised;
  own[2] = milliseconds() - begin;
  MPI_Reduce(own, longest, n_times, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
  for (int i = 0; i < n_times && rank == 0; i++)
    printf("result %s %.3f ms\n", names[i], longest[i]);
  MPI_Finalize();
  return good ? 0 : 1;
}
