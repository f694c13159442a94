package guard

// transactionRequests are those of transactional producers, and of tools that look at them.
func transactionRequests() []request {
	return []request{
		{key: 24, name: "AddPartitionsToTxn", min: 0, max: 5, flexible: 3, fields: []field{
			list("transactions", str("transactional_id"), i64("producer_id"), i16("producer_epoch"), i8("verify_only"),
				list("topics", str("name"), i32s("partitions"))).since(4),
			str("transactional_id").until(3), i64("producer_id").until(3), i16("producer_epoch").until(3),
			list("topics", str("name"), i32s("partitions")).until(3),
		}},
		{key: 25, name: "AddOffsetsToTxn", min: 0, max: 4, flexible: 3, fields: []field{
			str("transactional_id"), i64("producer_id"), i16("producer_epoch"), str("group_id"),
		}},
		{key: 26, name: "EndTxn", min: 0, max: 5, flexible: 3, fields: []field{
			str("transactional_id"), i64("producer_id"), i16("producer_epoch"), i8("committed"),
		}},
		{key: 27, name: "WriteTxnMarkers", min: 1, max: 2, flexible: 1, fields: []field{
			list("markers", i64("producer_id"), i16("producer_epoch"), i8("transaction_result"),
				list("topics", str("name"), i32s("partition_indexes")), i32("coordinator_epoch"), i8("transaction_version").since(2)),
		}},
		{key: 28, name: "TxnOffsetCommit", min: 0, max: 5, flexible: 3, fields: []field{
			str("transactional_id"), str("group_id"), i64("producer_id"), i16("producer_epoch"), i32("generation_id").since(3), str("member_id").since(3),
			str("group_instance_id").since(3),
			list("topics", str("name"), memory("topic_id", 16),
				list("partitions", i32("partition_index"), i64("committed_offset"), i32("committed_leader_epoch").since(2), str("committed_metadata"))),
		}},
		{key: 61, name: "DescribeProducers", min: 0, max: 0, flexible: 0, fields: []field{
			list("topics", str("name"), i32s("partition_indexes")),
		}},
		{key: 65, name: "DescribeTransactions", min: 0, max: 0, flexible: 0, fields: []field{strs("transactional_ids")}},
		{key: 66, name: "ListTransactions", min: 0, max: 2, flexible: 0, fields: []field{
			strs("state_filters"), i64s("producer_id_filters"), i64("duration_filter").since(1), str("transactional_id_pattern").since(2),
		}},
	}
}

func i64s(name string) field { return scalars(name, i64("")) }
