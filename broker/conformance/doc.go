// Package conformance tests what a Kafka client may rely on: raw requests over TCP, nothing negotiated and nothing repeated by a
// client library, one file per API.
//
//	make conformance                        a broker of ours, started in a temporary directory
//	make conformance ADDR=127.0.0.1:9092    any broker that is there
//
// Every test passes on Apache Kafka 4.3.1 and on ours: one that Kafka fails is a wrong test. So no test skips, needs a broker's
// insides, or a setting other than auto.create.topics.enable=true and a short group.initial.rebalance.delay.ms. What only ours does, or
// what Kafka cannot be made to do from outside, is tested elsewhere. All tests share one broker; each uses names of its own (raw.TopicName)
// for topics, groups and transactional ids, and puts back what it changes for the whole cluster.
//
// The program in report runs the tests and says at its end how many passed, and on what.
//
// # What is tested where
//
// A name with a prefix is that of a test in another package: kafka.TestRestart is in broker/kafka. TestDocNamesTests holds the table to
// the tests that there are.
//
// The protocol:
//
//	the APIs and their versions; Produce from 0 on (KAFKA-18659)    TestApiVersionsRanges
//	every version of every API, the low ends too                    TestEveryVersionAnswers
//	features, supported and finalized (KIP-584)                     TestApiVersionsFeatures, TestUpdateFeatures
//	an unknown version of ApiVersions: 35, in v0 (KIP-511)          TestApiVersionsUnknownVersion
//	a bad name of the client's software: 42                         TestApiVersionsBadSoftware
//	unknown APIs and versions, bad and oversized frames: closed     TestOtherUnknownVersionsClose, TestFrameOverTheLimitCloses
//	requests in pieces, several at once, any correlation id         TestFramesInPieces, TestManyFramesAtOnce
//	no client id; tags that nobody knows (KIP-482)                  TestClientIDMayBeNull, TestUnknownTagsAreIgnored
//	answers in the order of the requests                            TestPipelinedRequestsAreAnsweredInOrder, TestPipelinedCommitAndFetch
//	one node: broker, controller, leader, coordinator               TestMetadataAllVersions, TestDescribeCluster, TestFindCoordinator
//	acks=0 between other requests; nonsense beside another client   TestAcks0BetweenOthers, TestClosedConnectionLeavesOthersAlone
//	throttled: answered, then muted (KIP-219)                       TestProduceIsAnsweredAndThenThrottled, TestPipelinedRequestsAreThrottled, TestProduceWithoutAnswerIsThrottled
//
// Topics:
//
//	names that cannot be: 17, when created and when looked for      TestCreateTopicsRefusals, TestMetadataInvalidNames
//	a.b against a_b: 17; 36, 37, 38, 39, 40                         TestCreateTopicsRefusals
//	what was created, from v5 on                                    TestCreateTopicsAllVersions
//	only validated; -1 for defaults; assignments                    TestCreateTopicsValidateOnly, TestCreateTopicsDefaultsAndAssignment
//	a name twice: 42; topics are independent                        TestCreateTopicsOneFailsTheOthersDoNot, TestDeleteTopicsOneFailsTheOthersDoNot
//	what is checked first                                           TestCreateTopicsOrderOfChecks
//	10,000 partitions a request                                     TestCreateTopicsTooManyPartitionsInOneRequest
//	ids everywhere, an unknown one: 100                             TestMetadataByID, TestMetadataByIDOnlyWhereThatIsKnown, TestFetchUnknown, TestProduceUnknownTopic, TestDeleteTopicsByID
//	a topic created anew has another id (KIP-516)                   TestRecreatedTopicHasAnotherID
//	deleting by name and id; 3, 100, 42                             TestDeleteTopicsAllVersions, TestDeleteTopicsByID, TestDeleteTopicsRefusals
//	null is all topics, no topics are none                          TestMetadataAllTopicsAndNone
//	a topic is answered once                                        TestMetadataAnswersATopicOnce
//	created by Metadata where that is allowed, by nothing else      TestMetadataCreatesTopicsWhereAllowed, TestOnlyMetadataCreatesTopics, kafka.TestMetadataAutoCreateDisabled
//	operations without an authorizer                                TestMetadataAuthorizedOperations
//	more partitions, never fewer                                    TestCreatePartitionsAllVersions, TestCreatePartitionsRefusals
//	... of each topic by itself; only validated; with commits       TestCreatePartitionsTopicsAreIndependent, TestCreatePartitionsValidateOnly, TestCreatePartitionsOfATopicWithCommits
//	... while a fetch session waits; after a restart                TestCreatePartitionsWhileASessionWaits, kafka.TestRestartOfAGrownTopic
//
// Produce:
//
//	every version, acks 1 and all                                   TestProduceAllVersions
//	acks=0 has no answer, an error closes; acks=2: 21               TestProduceAcks0HasNoAnswer, TestProduceAcks0ErrorCloses, TestProduceInvalidAcks
//	no topic, no partition: 3 and 100                               TestProduceUnknownTopic
//	checksum 2; no batch, two, a client's control batch: 87         TestProduceRefusedBatches
//	record count against offset delta; magic 0 and 1 (KIP-724): 87  TestProduceRefusedBatches
//	a producer id without a sequence 87; transactional without 53   TestProduceRefusedBatches
//	an hour ahead: 32; the topic's own limits                       TestProduceRefusedBatches, TestProduceTimestampLimits
//	batches that are cut off                                        TestProduceTruncatedBatch
//	max.message.bytes, of the topic: 10                             TestProduceMaxMessageBytesOfTheTopic
//	no key on a compacted topic: 87, culprits named (KIP-467)       TestProduceCompactedTopicNeedsKeys
//	LogAppendTime (KIP-32); the topic decides                       TestProduceLogAppendTime, TestProduceTimestampTypeIsTheTopics, TestProduceSaysLogAppendTime
//	partitions are independent                                      TestProducePartitionsFailIndependently
//	a partition twice: the last batch                               TestProducePartitionTwice
//	offset and leader epoch are stamped, the rest is kept           TestProduceStampsAndKeepsBatches
//	the batch's largest timestamp is put right                      TestProduceCorrectsTheMaxTimestamp
//	every codec is kept as it came, and its records are checked     TestProduceKeepsEveryCodec, TestProduceRefusesBadRecordsInEveryCodec
//	compression.type: the topic's own codec                         TestCompressionType, TestCompressionLevels, TestCompressionChanges
//	... with producers, LogAppendTime and limits                    TestCompressionKeepsTheProducer, TestCompressionWithLogAppendTime, TestCompressionAndMaxMessageBytes
//	zstd from v7 on: 76; damaged compression                        TestProduceZstdNeedsVersion7, TestProduceDamagedCompression
//	more copies asked for than there are: 19 (Kafka counts to one)  kafka.TestProduceMinInsyncReplicas
//
// Idempotent producers:
//
//	ids that nobody had, of every version; an empty id: 42          TestInitProducerIDAllVersions, TestInitProducerIDEmptyTransactionalID
//	the last five batches are known, older 45 or 46                 TestProduceIdempotence
//	a gap: 45, and the retry in order works                         TestProduceIdempotence
//	an old epoch: 47; a new one begins at 0                         TestProduceIdempotence
//	an unknown producer begins anywhere (KIP-360)                   TestProduceUnknownProducerStartsAnywhere
//	... and in a transaction of the new kind at 0 (KIP-890): 45     TestTxnProduceStartsAtZero
//	sequences wrap at 2^31-1                                        TestProduceSequenceWraps
//	all of it after a restart, and when records are deleted         kafka.TestRestart, TestDeleteRecordsKeepsProducerState
//
// Fetch:
//
//	every version                                                   TestFetchAllVersions
//	one whole batch over any limit (KIP-74)                         TestFetchGivesOneWholeBatchOverAnyLimit
//	max_bytes over all partitions                                   TestFetchMaxBytesHoldsAcrossPartitions
//	an offset inside a batch: all of it                             TestFetchInsideABatchReturnsTheWholeBatch
//	at the end nothing; beyond it, and below the start: 1           TestFetchAtTheEndIsEmptyAndBeyondIsOutOfRange, TestDeleteRecordsMovesTheLogStart
//	no topic, no partition: 3 and 100                               TestFetchUnknown
//	data, min_bytes and errors wake, max_wait ends                  TestFetchWaitsForData, TestFetchWaitsForMinBytes, TestFetchErrorsAnswerAtOnce, TestFetchMaxWaitEnds
//	no partitions; a partition twice                                TestFetchEmptyRequest, TestFetchTakesAPartitionOnce
//	partitions take turns                                           kafka.TestFetchRotates
//	leader epochs: 74, 75 (KIP-320)                                 TestFetchLeaderEpochs, kafka.TestRestart
//	where the client's log parted from ours (v12)                   TestFetchDivergingEpoch, TestFetchTellsWhereLogsPart, kafka.TestRestart
//	a topic that goes meanwhile                                     TestFetchEndsWithItsTopic
//	aborted transactions, for who asks                              TestFetchAbortedTransactionsByIsolation, TestFetchAbortedTransactionsThatOverlap
//	a marker wakes who waits for committed records                  TestFetchIsWokenByTheMarker
//	reading to the end never hangs                                  TestReadToTheEnd
//
// Fetch sessions (KIP-227):
//
//	first all partitions, then what changed                         TestFetchSessionTellsOnlyWhatChanged, TestFetchSessionTellsBoundsAndErrors, TestFetchSessionTellsTheLogStart
//	70, 71; how one ends                                            TestFetchSessionEpochs, TestFetchSessionEnds, TestFetchSessionOutlivesItsConnection
//	forgotten topics, unknown and replaced ones                     TestFetchSessionForgetsTopics, TestFetchSessionOfUnknownTopics, TestFetchSessionOfATopicThatIsReplaced
//	by name or by id                                                TestFetchSessionKeepsToItsKindOfTopics
//	waiting, min_bytes, isolation                                   TestFetchSessionWakes, TestFetchSessionWaitsForMinBytes, TestFetchSessionIsolation
//	partitions take turns                                           TestFetchSessionRotates
//
// ListOffsets and OffsetForLeaderEpoch:
//
//	every version; of an empty partition                            TestListOffsetsAllVersions, TestListOffsetsOfAnEmptyPartition
//	-1 to -6, each from its version on                              TestListOffsetsOfAnEmptyPartition, TestListOffsetsErrors
//	a time inside a batch; a later one than any: -1, no error       TestListOffsetsByTime
//	the end, and times, of committed records                        TestListOffsetsReadCommitted
//	a partition twice: 42; leader epochs                            TestListOffsetsPartitionTwice, TestListOffsetsLeaderEpoch
//	where an epoch ended; a partition twice                         TestOffsetForLeaderEpoch, kafka.TestRestart, TestOffsetForLeaderEpochPartitionTwice
//
// DeleteRecords:
//
//	-1 is the high watermark, above it 1; below the new start 1     TestDeleteRecordsMovesTheLogStart
//	a compacted topic: 44; one that deletes too                     TestDeleteRecordsOfACompactedTopic, TestDeleteRecordsOfACompactedTopicThatDeletesToo
//	a partition twice: the last offset                              TestDeleteRecordsPartitionTwice
//	producers go on                                                 TestDeleteRecordsKeepsProducerState
//	times below the start                                           TestDeleteRecordsAndOffsetsByTime
//	what retention deletes, by time and by size                     kafka.TestRetention
//
// Transactions:
//
//	a marker takes an offset; the oldest open one holds the LSO     TestTxnMarkersAndLastStable
//	aborted ones, in order, for who asks                            TestTxnAbortedList, TestFetchAbortedTransactionsByIsolation
//	begin anew: a higher epoch, the open one aborted (51, then OK)  TestTxnInitAllVersions, TestTxnInitAbortsAndFences
//	an old epoch: 47 and 90, by version (KIP-588)                   TestTxnFencedByVersion
//	a producer id with a new transactional id                       TestTxnInitRecovers, TestTxnUnknownProducer
//	an empty id 42, a timeout too long 50                           TestTxnInitRefused
//	an end without a transaction 48; older versions                 TestTxnEndWithoutTransaction, TestTxnEndOlderVersions
//	EndTxn v5: the next epoch, and repeated (KIP-890)               TestTxnEndRaisesTheEpoch, TestTxnEpochsUsedUp
//	produce outside: 48, from v11 on 120; v12 adds by itself        TestTxnProduceOutside, TestTxnProduceAdds, TestTxnProduceRepeated, TestTxnProduceMalformed
//	one bad partition: the others 55                                TestTxnAddPartitions, TestTxnAddPartitionsBatchedAndVerifyOnly
//	a partition twice                                               TestTxnAddPartitionTwice
//	a time-out aborts and fences                                    TestTxnTimeout
//	a topic that is deleted in the middle                           TestTxnTopicDeleted
//	offsets are seen when committed; require_stable: 88 (KIP-447)   TestTxnOffsets, TestTxnOffsetsOfWholeGroup
//	... not outside, not of fenced members                          TestTxnOffsetsOutside, TestTxnOffsetsFencedByGroup, TestTxnOffsetsFencedByConsumerGroup
//	what administrators see                                         TestTxnDescribe, TestTxnList, TestDescribeProducers
//
// Classic groups:
//
//	the coordinator, of one and of many, of groups and producers    TestFindCoordinator
//	MEMBER_ID_REQUIRED from v4 on                                   TestJoinGroupOfEveryVersion
//	22 to 27, each in its place                                     TestJoinGroupErrors, TestRebalance, TestCommitErrors
//	an unknown group: 25                                            TestUnknownGroup
//	... commits 22 before v9, then 69; describes Dead, then 69      TestCommitErrors, TestDescribeGroups
//	... is deleted with 69, has no offsets and that is no error     TestDeleteGroups, TestOffsetFetchOfNothing
//	JoinGroup v0 rebalances within the session timeout              TestJoinGroupV0RebalanceTimeout
//	followers wait for the leader, who alone is told the members    TestRebalance
//	the session timeout evicts                                      TestSessionTimeoutEvicts
//	static members keep assignment and generation; 82 (KIP-345)     TestStaticMember, TestStaticMemberWithOtherMetadata
//	a commit without a generation makes a group, of a stranger: 25  TestCommitErrors
//	metadata above 4096: 12; null comes back as ""                  TestCommitErrors, TestCommitAndFetchOfEveryVersion
//	offsets of several groups, of all partitions                    TestOffsetFetchOfSeveralGroups, TestCommitAndFetchOfEveryVersion
//	a partition twice: the last offset                              TestOffsetsPartitionTwice
//	offsets go with their topic                                     TestDeletedTopicTakesItsOffsets
//	filters of ListGroups, in any case                              TestListGroups
//	retention counts from when the group became empty (KIP-211)     group.TestRetention
//	groups with members: 68                                         TestDeleteGroups
//	offsets of a topic that a member reads: 86                      TestOffsetDelete, TestOffsetDeleteOfASubscribedTopic, TestOffsetDeleteOfAGroupThatCannotBeRead
//	groups after kill -9                                            kafka.TestGroupsSurviveAKill, kafka.TestConsumerGroupsSurviveAKill
//
// Groups that the broker balances (KIP-848):
//
//	an epoch of 0 joins; the member gets its id before v1           TestConsumerGroupOfOne, TestConsumerGroupHeartbeatNamesMembersInV0
//	25, 42, 69, 112, 128, each in its place                         TestConsumerGroupHeartbeatErrors
//	no partition is with two while it moves                         TestConsumerGroupMovesPartitions
//	epochs: 110, unless the last answer may have got lost           TestConsumerGroupFencesEpochs
//	the assignors uniform and range                                 TestConsumerGroupAssignors
//	regular expressions; topics that come, grow and go              TestConsumerGroupRegex, TestConsumerGroupSeesTopicsChange
//	who does not give up in time is out                             TestConsumerGroupRebalanceTimeout
//	static members: 111, 82, back with -2                           TestConsumerGroupStaticMemberReturns, TestConsumerGroupStaticMemberChanges
//	removed by an administrator                                     TestConsumerGroupMembersCanBeRemoved
//	commits: 113, 35 before v9, of an earlier epoch (KIP-1251)      TestConsumerGroupCommits, TestConsumerGroupCommitOfAnEarlierEpoch
//	... in a transaction: 22, 25                                    TestConsumerGroupTxnCommits
//	reading offsets: 25, 113                                        TestConsumerGroupFetchesOffsets
//	described; described as a classic one: 69, Dead                 TestConsumerGroupDescribe, TestConsumerGroupInClassicAPIs
//	the heartbeat interval of a group                               TestConsumerGroupHeartbeatIntervalOfTheGroup
//	migration there and back, and in a rebalance                    TestGroupMigratesAndBack, TestMigrationEndsARebalance
//	... of static members; classic members that come                TestStaticMemberMigratesAndBack, TestClassicMemberInAConsumerGroup
//	... of other groups, and of empty ones                          TestOtherGroupsDoNotMigrate, TestEmptyGroupsAreOfNoKind
//
// Configs:
//
//	values, sources, synonyms, types, documentation                 TestDescribeConfigsOfATopic, TestDescribeConfigsOfATopicAreKafkas, TestDescribeConfigsOfTheBroker
//	... of every config of the broker, and what was set             TestDescribeConfigsOfTheBrokerAreKafkas, TestDescribeConfigsTellsWhatWasSet
//	some of them; those that tools read                             TestDescribeConfigsOnlySome, TestDescribeConfigsOnlyWhatIsAskedFor, TestDescribeConfigsThatToolsRead
//	3, 17, 42                                                       TestDescribeConfigsRefusals, TestDescribeConfigsRefusesNames
//	set, delete, append, subtract (KIP-339)                         TestIncrementalAlterConfigsSetAndDelete, TestIncrementalAlterConfigsOfAList, TestIncrementalAlterConfigsOfAListThatIsNotSet
//	... refused, twice, only validated                              TestIncrementalAlterConfigsRefusals, TestIncrementalAlterConfigsResourceTwice, TestIncrementalAlterConfigsValidateOnly
//	all at once                                                     TestAlterConfigsReplaces, TestAlterConfigsRefusals
//	of brokers (KIP-226), groups, clients, loggers                  TestDynamicBrokerConfigs, TestGroupConfigs, TestClientMetricsConfigs, TestLoggerLevels
//	what has configs                                                TestListConfigResources
//	flush.messages: what is acknowledged is visible                 TestFlushMessages
//	cleanup.policy, both and back                                   TestIncrementalAlterConfigsOfCleanupPolicy
//	ranges of values, and how they are written                      TestTopicConfigValues, TestTopicConfigNumbers, TestTopicConfigWords
//	several together; odd elements of lists                         TestTopicConfigsTogether, TestTopicConfigListsOddly
//
// Administration:
//
//	sizes of partitions and of the volume                           TestDescribeLogDirsSizes
//	topics in pages, with a cursor (KIP-966)                        TestDescribeTopicPartitionsPages, TestDescribeTopicPartitionsOfATopic, TestDescribeTopicPartitionsOfAll
//	nobody to elect: 84; nothing to move: 85                        TestElectLeaders, TestAlterPartitionReassignments, TestListPartitionReassignments
//	the endpoint of another kind (KIP-919): 114, 115                TestDescribeClusterOfOtherEndpoints
//	client quotas (KIP-546)                                         TestClientQuotasAreSetAndRemoved, TestAlterClientQuotasChecksOnly, TestAlterClientQuotasRefuses, TestDescribeClientQuotasFilters
//	no authorizer: 54                                               TestACLsWithoutAnAuthorizer
//
// Client quotas (KIP-546):
//
//	set, removed, only checked, refused                             TestClientQuotasAreSetAndRemoved, TestAlterClientQuotasChecksOnly, TestAlterClientQuotasRefuses
//	filters                                                         TestDescribeClientQuotasFilters
//	bytes produced; bytes fetched, and the session goes on          TestProduceIsAnsweredAndThenThrottled, TestFetchIsAnsweredEmptyAndThenThrottled
//	time of requests (KIP-124); changes of topics: 89 (KIP-599)     TestRequestsAreThrottledByTheirTime, TestChangesOfTopicsAreThrottled
//	connections of an address (KIP-612)                             TestConnectionsOfAnAddressAreThrottled
package conformance
