package lease_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/lease"
)

// Several leases of one name that were stored may be of as many processes: all hold, until their time is over.
func TestStoredLeasesOfOneName(t *testing.T) {
	r := newRig(t, nil)
	x, y := r.grant(of("x", 10)), r.grant(of("y", 20))
	r.kill()
	for _, l := range []lease.Lease{x, y} {
		_, err := r.desk.Renew(l.ID, -1)
		require.NoError(t, err)
	}
	r.nowMs.Add(20_000)
	_, err := r.desk.Renew(y.ID, -1)
	require.NoError(t, err)
	require.EqualValues(t, 10, r.held())
	r.nowMs.Add(10_000)
	require.EqualValues(t, 20, r.held())
	require.NoError(t, r.desk.Release(y.ID))
	stored, err := r.catalog.Leases()
	require.NoError(t, err)
	require.Empty(t, stored)
}

// of are terms of one of the processes of a name.
func of(instance string, cut int64) lease.Terms {
	t := terms("r", cut)
	copy(t.Instance[:], instance)
	return t
}

// Processes of one name do not take each other's leases, and each has one.
func TestProcessesOfOneNameHaveTheirLeases(t *testing.T) {
	r := newRig(t, nil)
	x, y := r.grant(of("x", 10)), r.grant(of("y", 20))
	_, err := r.desk.Renew(x.ID, -1)
	require.NoError(t, err)
	r.grant(of("x", 30))
	_, err = r.desk.Renew(x.ID, -1)
	require.ErrorIs(t, err, lease.ErrExpired)
	_, err = r.desk.Renew(y.ID, -1)
	require.NoError(t, err)
	require.EqualValues(t, 20, r.held())
}

// A process that is killed and starts again and again has so many leases and no more, the last among them, and takes none of one that had its own before.
func TestAProcessThatStartsAgainAndAgain(t *testing.T) {
	r := newRig(t, nil)
	stays := r.grant(of("stays", 5))
	var last lease.Lease
	for i := range 100 {
		last = r.grant(of(fmt.Sprint(i), int64(100+i)))
		require.LessOrEqual(t, len(r.desk.Leases()), 8)
	}
	for _, l := range []lease.Lease{stays, last} {
		_, err := r.desk.Renew(l.ID, -1)
		require.NoError(t, err)
	}
	stored, err := r.catalog.Leases()
	require.NoError(t, err)
	require.Len(t, stored, 8)
	r.nowMs.Add(29_000)
	for _, l := range []lease.Lease{stays, last} {
		_, err := r.desk.Renew(l.ID, -1)
		require.NoError(t, err)
	}
	r.nowMs.Add(1_000)
	require.Len(t, r.desk.Leases(), 2, "those of its former lives have expired")
}

// Where no more leases may be out, a process that starts again is given the place of its former life.
func TestAProcessStartsAgainWhereThereIsNoRoom(t *testing.T) {
	r := newRig(t, func(c *lease.Config) { c.LeasesMax = 1 })
	r.grant(of("x", 10))
	r.grant(of("y", 20))
	require.EqualValues(t, 20, r.held())
	_, err := r.desk.Grant(terms("another", 30))
	require.ErrorIs(t, err, lease.ErrTooMany)
}
