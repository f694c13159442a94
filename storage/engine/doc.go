// Package engine opens the two Pebble databases of a data directory, with the options that were measured for them, and
// guards the directory: one process, one format, never a disk so full that Pebble hangs.
//
//	dir, err := engine.OpenDir(engine.Config{Dir: "keyframe-data"})
//	...
//	db, err := dir.OpenLogDB()
//	...
//	defer dir.Close() // closes the databases, then releases the lock
//
// # The directory
//
//	VERSION   "keyframe-broker 1\n" or "keyframe-replica 1\n": what this directory is. Written first, durable, with the
//	          directory's own name and those above it, before anything else is.
//	LOCK      held (fcntl) while a process has the directory open
//	PID       decimal process id of the holder, for the error message only
//	log.created, table.created   the database was created: if its files are gone, that is an error and not a new database
//	log/      Pebble: the log, the catalog, the groups (package keys has the layouts); a broker's only
//	table/    Pebble: the tables
//	table.damaged/   a table/ that was set aside (SetTableAside); a replica's only
//
// A directory that has other files and no VERSION is not a data directory (ErrNotADataDir) and nothing is written into it;
// a VERSION that is not known is ErrVersion, and one that names none is damage. A broker and a replica refuse each other's directory
// (ErrKind): each drops the tables that it knows nothing of. OpenReadOnly looks into the directory of either and changes
// nothing.
//
// # Blob files
//
// The values of the log are written twice: to the WAL, and at a flush to a blob file. Blob files are written past the system's page cache (O_DIRECT) where
// the file system takes that, in pieces of 1 MiB: to take up new pages for them cost half of the CPU time of a produced byte. So what
// leaves the tail cache of package log comes from the device when it is first read, with a read-ahead of 2 MiB for each reader through Pebble, and from the page
// cache after that. OpenBlob opens a file for long reads beside Pebble, with the system's own read-ahead: to ask for more (readahead) took a third more CPU time
// and was slower, the system takes large pages for what it reads ahead itself and small ones for what it is asked for. A file system that takes no direct
// writes is said in the log, once, and everything goes through the page cache there.
// A flush gives time away: it takes half of that in which a memtable was filled, so that the syncs of the WAL, which producers wait for, do not stand behind
// 32 MiB at once; it does not once the next memtable is full.
//
// # Failures
//
// A failed sync ends in Config.Fatal, once: what is durable is unknown then, and a repeated fsync may report success for
// pages that the kernel has already dropped. Damaged blocks are not fatal: the read that hits them gets the error.
//
// Damage that Pebble would take for the end of a file, in a MANIFEST or in the last WAL, is looked for before a database is
// opened: Pebble would delete or forget everything behind it. Such a directory is refused (*damage.Error) and nothing in it
// changes. What a crash leaves is never taken for damage, so the last synced record of a WAL is not protected: a WAL that ends in
// something that is no record is opened, with a warning (Dir.Notices); and zeros at the end of a MANIFEST that begin between two records may be one that was
// never written. An sstable whose first and last key are not what the MANIFEST says is another file, which is an error of whoever reads it, and of
// CheckTableFiles; it is looked at before it is first read, not when the database is opened. A blob file that is damaged at its end, or goes away, is an error
// of whoever needs it, where Pebble would panic, and the rest of the database is there; one that is missing from the start is an error of readers alone: check
// names it.
//
// A full disk is kept away from Pebble, which retries a flush for ever and lets writers hang on ENOSPC: Reserve refuses
// writes while there is still room for everything that Pebble has accepted.
package engine
