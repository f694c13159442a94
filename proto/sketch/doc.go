// Package sketch finds the difference of two sets of 8-byte tags at the cost of the difference: one side sends coded cells, as many as it takes, the
// other subtracts its own set and reads off what is left. It is a rateless invertible Bloom lookup table, after "Practical Rateless Set
// Reconciliation" (Yang, Gilad, Alizadeh; SIGCOMM 2024, arXiv 2402.02668).
//
//	enc := sketch.NewEncoder(theirs)
//	dec := sketch.NewDecoder(ours)
//	for done := false; !done; {
//		done, err = dec.Add(enc.Next(nil, dec.More())) // over the wire: Append, Parse
//	}
//	onlyTheirs, onlyOurs := dec.Difference()
//
// # Why it works
//
// A set has one endless sequence of cells. Each tag is in cell 0 and in a pseudo-random choice of the later ones that depends on the tag alone: in
// cell i with probability p(i) = 1/(1+i/2). A cell holds the xor of its tags, the xor of their checks, and their number. Xor makes sequences linear:
// the cells of two sets, subtracted one by one, are those of their difference, however large the sets are; and the cells of disjoint sets, such as
// the partitions of a topic, add up to those of all (Cell.Merge). A cell that a single tag of the difference is left in shows it: its number is 1 or
// -1, the check is that of the xor, and the cell is one that this tag is in. The tag is taken out of all its cells, and others may become single so.
// When cell 0 is empty, nothing is left, since all tags are in it.
//
// The density falls so that, whatever the size d of the difference, the cells around number d hold two or three of its tags each, and peeling gets
// through after about 1.4 d cells (1.35 d in the limit, up to 1.8 d on average for a few tags, and the first cell for one). So nobody has to know d
// before, and the first n cells serve everybody: they are computed once for a frame, and sent to all who ask.
//
// Next indices are drawn directly, not cell by cell: behind i the next index is at most j with probability 1 - (i+1)(i+2)/((j+1)(j+2)), since the
// product of 1 - p over the cells between telescopes, and this is solved for j. A tag is in about 2 ln n of the first n cells.
//
// A heap of next indices, as in the paper's encoder, costs some cache misses for each tag in each cell. Here a call for n cells goes over all tags in
// memory order, and works on those that are in one of the n. A tag takes 4 bytes beside itself: the random numbers come from a hash of tag and index,
// not from a state. So ask for cells in chunks, not one by one.
//
// # What it does not do
//
// Tags are hashes (package digest) and the check is a hash with fixed keys: sets that nobody made up for the purpose do not cancel, sums of tags that
// happen to be zero included, but whoever chooses tags can make a decoder fail. So nothing here is proof: a false single has to match 32 bits of check and
// the index (less than one in 2^32 a cell), and what was decoded is applied only if the digest afterwards is the one wanted. A tag that is twice in a set is
// twice in its cells; if both are in the difference, it does not decode.
//
// Bytes from others cost bounded work and memory: at most CellsMax cells, and at most one tag for each, each of them once. What cannot be the
// cells of a set is ErrCorrupt as soon as it shows: at the latest when cell 0 is empty and another is not, or at CellsMax.
//
// # Layout
//
// Cells are sent one after the other, without a header: which ones they are, and the size of the set, is known from the request and the answer it comes with.
//
//	sum      8 bytes, big-endian: xor of the tags
//	check    4 bytes, big-endian: xor of their checks
//	count    signed (zigzag) varint, of at most 10 bytes, shortest form: number of tags less the expected number, floor(2 rows / (i+2)), for cell i
//
// Cell 0 holds all rows, so its count is 0 here. The deviation is binomial: two bytes for some hundred cells of a million rows, one for most of those after,
// and so 13 to 14 bytes a cell.
//
// All numbers are of 64 bits, unsigned, and wrap around; shifts fill with zeros:
//
//	mix(x)       x ^= x >> 30;  x *= 0xbf58476d1ce4e5b9;  x ^= x >> 27;  x *= 0x94d049bb133111eb;  x ^= x >> 31      (splitmix64)
//	check(tag)   mix(tag ^ 0x6b65796672616d65) >> 32
//	next(tag, i) r = mix(tag ^ (i+1) * 0x9e3779b97f4a7c15) >> 11;  u = (r+1) / 2^53;
//	             max(i+1, ceil(sqrt((i+1)(i+2) / u + 1/4) - 3/2)), in IEEE 754 doubles, each operation rounded by itself
//
// A tag is in cell 0, next(tag, 0), next(tag, next(tag, 0)), and so on.
package sketch
