#!/usr/bin/env bash
# Drives kcat. What a capability means, and what a driver is given and prints, stands in ../capabilities.txt.
set -uo pipefail
addr=$INTEROP_ADDR prefix=$INTEROP_PREFIX only=${INTEROP_ONLY:-} four=$INTEROP_FOUR

version=$(kcat -V | sed -n 's/^Version \([^ ]*\).*librdkafka \([^ ]*\).*/\1 (librdkafka \2)/p')
printf 'interop\tversion\tinfo\t0\t%s\n' "$version"

produce() { kcat -P -b "$addr" -X acks=all "$@"; }
consume() { timeout 40 kcat -C -q -e -b "$addr" -X fetch.wait.max.ms=100 "$@"; } # to the end
fail() { echo "$*"; return 1; }
same() { [ "$1" = "$2" ] || fail "$3: $(head -c 200 <<<"$1") came, not $(head -c 200 <<<"$2")"; }
# A topic is created when somebody asks for it, and a first produce may find it without a leader.
create() { for _ in $(seq 50); do kcat -L -b "$addr" -t "$1" | grep -q 'partition 0, leader [0-9]' && return; sleep 0.1; done; fail "$1 was not created"; }

cap_produce() {
  local p
  for p in 0 1 2; do
    seq 1 100 | sed 's/.*/k&:v&/' | produce -t "$four" -K: -p $p || fail "exit status $?" || return
    same "$(kcat -Q -b "$addr" -t "$four:$p:-1" | sed 's/.*offset //')" 100 "end of partition $p" || return
    same "$(consume -t "$four" -p $p -o beginning -f '%o ')" "$(seq -s ' ' 0 99) " "offsets of partition $p" || return
  done
  echo "without acknowledged offsets: kcat prints none"
}

cap_consume() {
  local t=$prefix-consume
  create "$t" || return
  seq 0 199 | produce -t "$t" || return
  same "$(consume -t "$t" -o beginning | tr '\n' ' ')" "$(seq 0 199 | tr '\n' ' ')" "from the beginning" || return
  same "$(consume -t "$t" -p 0 -o 150 | head -1)" 150 "from offset 150" || return
  same "$(consume -t "$t" -p 0 -o -5 | tr '\n' ' ')" "195 196 197 198 199 " "the last five" || return
  same "$(consume -t "$t" -p 0 -o end)" "" "from the end" || return
  local at
  at=$(consume -t "$t" -p 0 -o 100 -c 1 -f '%T')
  [ "$(consume -t "$t" -p 0 -o "s@$at" -f '%T\n' | head -1)" = "$at" ] || fail "from a timestamp"
}

cap_codecs() {
  local t=$prefix-codecs codec
  create "$t" || return
  for codec in none gzip snappy lz4 zstd; do
    seq 1 50 | sed "s/.*/$codec & $codec $codec $codec/" | produce -t "$t" -z "$codec" || fail "$codec" || return
  done
  same "$(consume -t "$t" -o beginning | md5sum)" \
    "$(for codec in none gzip snappy lz4 zstd; do seq 1 50 | sed "s/.*/$codec & $codec $codec $codec/"; done | md5sum)" "what was sent" || return
  echo "none gzip snappy lz4 zstd"
}

cap_headers() {
  local t=$prefix-headers
  create "$t" || return
  echo 'k:v' | produce -t "$t" -K: -H a=1 -H b= -H a=2 -H null || return
  echo 'gone:' | produce -t "$t" -K: -Z || return
  echo 'no key' | produce -t "$t" || return
  same "$(consume -t "$t" -o beginning -f '%k/%K/%S/%h|' | tr '\n' ' ')" "k/1/1/a=1,b=,a=2,null=NULL|gone/4/-1/|/-1/6/|" "records"
}

cap_groups() {
  local t=$prefix-groups
  create "$t" || return
  seq 1 100 | produce -t "$t" || return
  local options=(-b "$addr" -G "$prefix-group" -q -X auto.offset.reset=earliest -X session.timeout.ms=6000 -X heartbeat.interval.ms=300 -X fetch.wait.max.ms=100)
  same "$(timeout 40 kcat "${options[@]}" -e "$t" 2>/dev/null | wc -l)" 100 "first member" || return
  seq 101 120 | produce -t "$t" || return
  same "$(timeout 40 kcat "${options[@]}" -e "$t" 2>/dev/null | tr '\n' ' ')" "$(seq 101 120 | tr '\n' ' ')" "second member"
}

cap_rebalance() {
  local dir a b i
  dir=$(mktemp -d) && trap 'rm -rf "$dir"' RETURN
  local options=(-b "$addr" -G "$prefix-rebalance" -q -u -X auto.offset.reset=earliest -X session.timeout.ms=6000 -X heartbeat.interval.ms=300 -X fetch.wait.max.ms=100
    -X auto.commit.interval.ms=300 -X partition.assignment.strategy=roundrobin -f '%s\n' "$four")
  timeout 80 kcat "${options[@]}" >"$dir/a" 2>"$dir/a.err" & a=$!
  b=
  local stage=0
  for i in $(seq 1 150); do
    for p in 0 1 2 3; do echo "r$i-$p" | produce -t "$four" -p $p || return; done
    sleep 0.2
    local of_a of_b
    of_a=$(grep -c "^r$i-" "$dir/a") of_b=$(grep -c "^r$i-" "$dir/b" 2>/dev/null)
    case $stage in
      0) [ "$of_a" = 4 ] && { timeout 80 kcat "${options[@]}" >"$dir/b" 2>"$dir/b.err" & b=$!; stage=1; } ;;
      1) [ "$of_a" -gt 0 ] && [ "${of_b:-0}" -gt 0 ] && { kill "$b"; wait "$b"; stage=2; } ;;
      2) [ "$of_a" = 4 ] && { stage=3; break; } ;;
    esac
  done 2>/dev/null
  kill "$a" 2>/dev/null; wait "$a" 2>/dev/null
  [ "$stage" = 3 ] || { [ -n "$b" ] && kill "$b" 2>/dev/null; fail "stage $stage: the partitions did not move as they should"; return; }
  local have=$(($(cat "$dir/a" "$dir/b" | grep '^r' | sort -u | wc -l)))
  same "$have" "$((4 * i))" "records consumed"
}

cap_static() {
  local dir i
  dir=$(mktemp -d) && trap 'rm -rf "$dir"' RETURN
  local options=(-b "$addr" -G "$prefix-static" -q -u -X auto.offset.reset=latest -X session.timeout.ms=8000 -X heartbeat.interval.ms=300 -X fetch.wait.max.ms=100
    -X partition.assignment.strategy=roundrobin -f '%s\n' "$four")
  member() { timeout 80 kcat "${options[@]}" -X group.instance.id="$1" >>"$dir/$1" 2>>"$dir/$1.err" & }
  member a; local a=$!
  member b; local b=$!
  local before="" who
  for i in $(seq 1 100); do
    for p in 0 1 2 3; do echo "s$i-$p" | produce -t "$four" -p $p || return; done
    sleep 0.3
    [ "$(cat "$dir/a" "$dir/b" | grep -c "^s$i-")" = 4 ] || continue
    grep -q "^s$i-" "$dir/a" && grep -q "^s$i-" "$dir/b" && { before=$(sed -n "s/^s$i-//p" "$dir/a" | sort | tr '\n' ' '); break; }
  done
  [ -n "$before" ] || { kill "$a" "$b"; fail "the members did not both get partitions"; return; }
  kill "$a"; wait "$a" 2>/dev/null
  for p in 0 1 2 3; do echo "away-$p" | produce -t "$four" -p $p; done
  sleep 2
  who=$(sed -n 's/^away-//p' "$dir/b" | wc -l)
  member a; a=$!
  for i in $(seq 1 100); do [ "$(sed -n 's/^away-//p' "$dir/a" "$dir/b" | sort -u | wc -l)" = 4 ] && break; sleep 0.2; done
  kill "$a" "$b" 2>/dev/null; wait "$a" "$b" 2>/dev/null
  same "$who" "$((4 - $(wc -w <<<"$before")))" "partitions of the other one while it was away" || return
  same "$(sed -n 's/^away-//p' "$dir/a" | sort | tr '\n' ' ')" "$before" "partitions after it came back"
}

cap_idempotence() {
  local p got all=""
  seq 1 3000 | sed 's/.*/k&:i&/' | produce -t "$four" -K: -X enable.idempotence=true -X batch.size=4096 || return
  for p in 0 1 2 3; do # the client spreads the keys over all of them
    got=$(consume -t "$four" -p $p -o beginning -f '%s\n' | sed -n 's/^i//p')
    [ -n "$got" ] || fail "nothing in partition $p" || return
    same "$(md5sum <<<"$got")" "$(sort -n <<<"$got" | md5sum)" "order of partition $p" || return
    all+=$got$'\n'
  done
  same "$(sort -n <<<"${all%$'\n'}" | md5sum)" "$(seq 1 3000 | md5sum)" "what was sent"
}

cap_transactions() {
  local t=$prefix-transactions
  create "$t" || return
  seq 1 10 | produce -t "$t" -X transactional.id="$prefix-id" || fail "a transaction was not committed" || return
  # Killed in the middle: its transaction stays open until the next producer with its id. kcat reads its input by the mebibyte.
  rm -f lines && mkfifo lines && exec 9<>lines
  kcat -P -b "$addr" -t "$t" -X transactional.id="$prefix-id" -X linger.ms=1 <lines 9>&- & local p=$!
  seq 3000 | sed "s/.*/open & $(printf '%01000d' 0)/" >&9 & local writer=$!
  for _ in $(seq 100); do [ "$(consume -t "$t" -o beginning -X isolation.level=read_uncommitted | grep -c open)" -gt 100 ] && break; sleep 0.1; done
  kill -KILL "$p" "$writer"; wait "$p" "$writer" 2>/dev/null
  exec 9>&-
  same "$(consume -t "$t" -o beginning -X isolation.level=read_committed | wc -l)" 10 "read_committed while a transaction is open" || return
  echo after | produce -t "$t" -X transactional.id="$prefix-id" || fail "the next producer with the id" || return
  same "$(consume -t "$t" -o beginning -X isolation.level=read_committed | tail -1)" after "last committed record" || return
  same "$(consume -t "$t" -o beginning -X isolation.level=read_committed | grep -c open)" 0 "aborted records" || return
  [ "$(consume -t "$t" -o beginning -X isolation.level=read_uncommitted | grep -c open)" -gt 100 ] || fail "no aborted records under read_uncommitted" || return
  echo "without offsets: kcat has none in transactions"
}

cap_bootstrap() {
  local from isolation expected
  expected=$(for i in $(seq 0 599); do
    if [ "$i" -lt 20 ]; then r=4; elif [ $((i % 10)) = 3 ]; then r=deleted; else r=3; fi
    [ $r = deleted ] && size=-1 || { v="value-$i-$r-"; size=$((${#v} + 2000)); }
    printf 'key-%04d %s %s\n' "$i" "$size" "$r"
  done | md5sum)
  for from in 0 1 1500; do
    for isolation in read_uncommitted read_committed; do
      consume -t "$INTEROP_BOOTSTRAP" -p 0 -o "$from" -X isolation.level=$isolation -f '%o %k %S %T %h\n' >read.txt || fail "from $from, $isolation: exit status $?" || return
      awk -v from="$from" '$1 < from || $1 <= last && NR > 1 { print "offset", $1, "after", last; bad = 1; exit }
        { last = $1; split($5, h, ","); sub("round=", "", h[1]); sub("time=", "", h[2]); if (h[2] != $4) { print "offset", $1, "has timestamp", $4, "and", $5; bad = 1; exit } }
        END { if (!bad && last != 2500) { print "the last offset is", last; bad = 1 } exit bad }' read.txt >why.txt || fail "from $from, $isolation: $(cat why.txt)" || return
      same "$(awk '{ split($5, h, ","); sub("round=", "", h[1]); state[$2] = $3 " " h[1] } END { for (k in state) print k, state[k] }' read.txt | sort | md5sum)" \
        "$expected" "from $from, $isolation: the state" || return
    done
  done
  echo "$(wc -l <read.txt) of 2501 records were left"
}

# compare what came with a file of what has to come or may, = or ? before it.
compare() {
  awk 'BEGIN { n = i = 0 } NR == FNR { want[n] = substr($0, 2); must[n++] = substr($0, 1, 1) == "="; next }
    bad { next }
    { for (; i < n && want[i] != $0 && !must[i]; i++); if (i == n) bad = $0 " came behind the end"; else if (want[i++] != $0) bad = substr($0, 1, 120) " came, not " substr(want[i - 1], 1, 120) }
    END { for (; !bad && i < n; i++) if (must[i]) bad = "nothing came any more, and not " substr(want[i], 1, 120); if (bad) { print bad; exit 1 } }' "$1" "$2"
}

# readings of topics that others wrote, of a file.
readings() {
  local kind t from want
  while IFS=$'\t' read -r kind t from want; do
    reading "$kind" "$t" "$from" "$want" || fail "$kind $t $from" || return
  done <"$1"
}

reading() {
  local kind=$1 t=$2 from=${3/earliest/beginning} want=$4 form='%o\t%T\t%S\t%h\t%s\t%k\n'
  case $kind in
    earliest) same "$(kcat -Q -b "$addr" -t "$t:0:-2" | sed 's/.*offset //')" "$from" "earliest offset" ;;
    read) consume -t "$t" -p 0 -o "$from" -f "$form" >read.txt && compare "$want" read.txt ;;
    out-of-range)
      if consume -t "$t" -p 0 -o "$from" -X auto.offset.reset=error -f "$form" >read.txt 2>refused.txt; then
        fail "is served, and is out of range"
        return
      fi
      grep -qi "out of range" refused.txt || fail "without a reset policy: $(tail -1 refused.txt)" || return
      consume -t "$t" -p 0 -o "$from" -X auto.offset.reset=earliest -f "$form" >read.txt && compare "$want" read.txt ;;
    *) fail "no kind of reading that is known" ;;
  esac
}

cap_log-start() { readings "$INTEROP_LOG_START"; }
cap_folds() { readings "$INTEROP_FOLDS"; }
cap_stale() { readings "$INTEROP_STALE"; }

skip() { printf 'interop\t%s\tskip\t0\t%s\n' "$1" "$2"; }
wanted() { [ -z "$only" ] || [[ ",$only," == *",$1,"* ]]; }
for capability in produce consume codecs headers groups rebalance static groups848 idempotence transactions admin bootstrap log-start folds stale; do
  wanted $capability || continue
  case $capability in
    groups848) skip $capability "its librdkafka has no KIP-848"; continue ;;
    log-start) [ -n "$INTEROP_LOG_START" ] || { skip $capability "not of this broker"; continue; } ;;
    folds) [ -n "$INTEROP_FOLDS" ] || { skip $capability "not of this broker"; continue; } ;;
    stale) [ -n "$INTEROP_STALE" ] || { skip $capability "not of this broker"; continue; } ;;
    admin) skip $capability "kcat has no admin calls"; continue ;;
  esac
  began=$(date +%s%3N)
  if reason=$(cap_$capability 2> >(tee err.txt >&2)); then result=pass; else result=fail; reason="${reason:-no reason}; $(tail -2 err.txt)"; fi
  printf 'interop\t%s\t%s\t%s\t%s\n' $capability $result $(($(date +%s%3N) - began)) "$(tr -s '\n\t ' ' ' <<<"$reason")"
done
