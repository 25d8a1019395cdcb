CREATE TABLE public.events (
    id bigint,
    value text
);
CREATE TABLE public.foreachonce_intents (
    stream text NOT NULL,
    seq bigint NOT NULL,
    query_id text NOT NULL,
    batch_id bigint NOT NULL,
    run_id text NOT NULL,
    start_offsets text NOT NULL,
    end_offsets text NOT NULL,
    source_log text,
    offset_log text NOT NULL,
    is_stateful smallint NOT NULL,
    attempt bigint NOT NULL,
    begun_at text NOT NULL,
    sink text NOT NULL,
    versions text NOT NULL,
    decision text NOT NULL
);
CREATE TABLE public.foreachonce_ledger (
    stream text NOT NULL,
    seq bigint NOT NULL,
    query_id text NOT NULL,
    batch_id bigint NOT NULL,
    run_id text NOT NULL,
    start_offsets text NOT NULL,
    end_offsets text NOT NULL,
    source_log text,
    offset_log text NOT NULL,
    is_stateful smallint NOT NULL,
    rows bigint,
    committed_at text NOT NULL,
    sink text NOT NULL,
    versions text NOT NULL,
    decision text NOT NULL
);
CREATE TABLE public.foreachonce_meta (
    name text NOT NULL,
    value text NOT NULL
);
CREATE TABLE public.foreachonce_runs (
    stream text NOT NULL,
    token bigint NOT NULL,
    run_id text NOT NULL,
    query_id text NOT NULL,
    taken_at text NOT NULL
);
INSERT INTO public.events VALUES (0, 'value 0');
INSERT INTO public.events VALUES (1, 'value 1');
INSERT INTO public.events VALUES (2, 'value 2');
INSERT INTO public.events VALUES (3, 'value 3');
INSERT INTO public.events VALUES (4, 'value 4');
INSERT INTO public.events VALUES (5, 'value 5');
INSERT INTO public.events VALUES (6, 'value 6');
INSERT INTO public.events VALUES (7, 'value 7');
INSERT INTO public.events VALUES (10, 'value 10');
INSERT INTO public.events VALUES (11, 'value 11');
INSERT INTO public.events VALUES (10, 'value 10');
INSERT INTO public.events VALUES (11, 'value 11');
INSERT INTO public.foreachonce_intents VALUES ('calls', 0, 'bc953788-afd0-42f3-adad-ca2632486ba2', 0, '5845b2fb-1723-4ace-b247-cd32b75a36d9', '0:-', '0:{"logOffset":0}', '{"0": {"start": [], "files": ["{\"path\":\"file:///data/orders/postgres/calls/source/00000.json\",\"timestamp\":1000,\"batchId\":0}"]}}', 'v1
{"batchWatermarkMs":0,"batchTimestampMs":1795772183745,"conf":{"spark.sql.streaming.stateStore.providerClass":"org.apache.spark.sql.execution.streaming.state.HDFSBackedStateStoreProvider","spark.sql.streaming.stateStore.rocksdb.mergeOperatorVersion":"2","spark.sql.streaming.stateStore.rocksdb.formatVersion":"5","spark.sql.streaming.queryEvolution.enableSourceEvolution":"false","spark.sql.streaming.stateStore.encodingFormat":"unsaferow","spark.sql.streaming.statefulOperator.useStrictDistribution":"true","spark.sql.streaming.flatMapGroupsWithState.stateFormatVersion":"2","spark.sql.streaming.multipleWatermarkPolicy":"min","spark.sql.streaming.stateStore.rowChecksum.enabled":"false","spark.sql.streaming.aggregation.stateFormatVersion":"2","spark.sql.function.protobufExtensions.enabled":"false","spark.sql.shuffle.partitions":"2","spark.sql.streaming.join.stateFormatVersion":"2","spark.sql.streaming.stateStore.compression.codec":"lz4","spark.sql.optimizer.pruneFiltersCanPruneStreamingSubplan":"false"}}
{"logOffset":0}', 0, 0, '2026-11-27T09:36:23.884490+00:00', 'function calls.<locals>.broken, ledger in postgresql://postgres:***@127.0.0.1:51223/foreachonce_c9bf711d46f8: at most once without your word: a batch that was interrupted stops the stream as in doubt', 'foreachonce 0.1.0, pyspark 4.2.0', 'write');
INSERT INTO public.foreachonce_intents VALUES ('calls', 0, 'bc953788-afd0-42f3-adad-ca2632486ba2', 0, '6569c615-0da4-47af-aa02-54d23cc8f67d', '0:-', '0:{"logOffset":0}', '{"0": {"start": [], "files": ["{\"path\":\"file:///data/orders/postgres/calls/source/00000.json\",\"timestamp\":1000,\"batchId\":0}"]}}', 'v1
{"batchWatermarkMs":0,"batchTimestampMs":1795772183745,"conf":{"spark.sql.streaming.stateStore.providerClass":"org.apache.spark.sql.execution.streaming.state.HDFSBackedStateStoreProvider","spark.sql.streaming.stateStore.rocksdb.mergeOperatorVersion":"2","spark.sql.streaming.stateStore.rocksdb.formatVersion":"5","spark.sql.streaming.queryEvolution.enableSourceEvolution":"false","spark.sql.streaming.stateStore.encodingFormat":"unsaferow","spark.sql.streaming.statefulOperator.useStrictDistribution":"true","spark.sql.streaming.flatMapGroupsWithState.stateFormatVersion":"2","spark.sql.streaming.multipleWatermarkPolicy":"min","spark.sql.streaming.stateStore.rowChecksum.enabled":"false","spark.sql.streaming.aggregation.stateFormatVersion":"2","spark.sql.function.protobufExtensions.enabled":"false","spark.sql.shuffle.partitions":"2","spark.sql.streaming.join.stateFormatVersion":"2","spark.sql.streaming.stateStore.compression.codec":"lz4","spark.sql.optimizer.pruneFiltersCanPruneStreamingSubplan":"false"}}
{"logOffset":0}', 0, 1, '2026-11-27T09:36:24.159133+00:00', 'function calls.<locals>.<lambda>, ledger in postgresql://postgres:***@127.0.0.1:51223/foreachonce_c9bf711d46f8: at least once: a batch that was interrupted is run again', 'foreachonce 0.1.0, pyspark 4.2.0', 'in_doubt=rerun');
INSERT INTO public.foreachonce_intents VALUES ('calls', 1, 'bc953788-afd0-42f3-adad-ca2632486ba2', 1, '498fb106-17fd-4fcb-9baa-ecd6e18a3d8c', '0:{"logOffset":0}', '0:{"logOffset":1}', '{"0": {"start": ["{\"path\":\"file:///data/orders/postgres/calls/source/00000.json\",\"timestamp\":1000,\"batchId\":0}"], "files": ["{\"path\":\"file:///data/orders/postgres/calls/source/00001.json\",\"timestamp\":2000,\"batchId\":1}"]}}', 'v1
{"batchWatermarkMs":0,"batchTimestampMs":1795772184333,"conf":{"spark.sql.streaming.stateStore.providerClass":"org.apache.spark.sql.execution.streaming.state.HDFSBackedStateStoreProvider","spark.sql.streaming.stateStore.rocksdb.mergeOperatorVersion":"2","spark.sql.streaming.stateStore.rocksdb.formatVersion":"5","spark.sql.streaming.queryEvolution.enableSourceEvolution":"false","spark.sql.streaming.stateStore.encodingFormat":"unsaferow","spark.sql.streaming.statefulOperator.useStrictDistribution":"true","spark.sql.streaming.flatMapGroupsWithState.stateFormatVersion":"2","spark.sql.streaming.multipleWatermarkPolicy":"min","spark.sql.streaming.stateStore.rowChecksum.enabled":"false","spark.sql.streaming.aggregation.stateFormatVersion":"2","spark.sql.function.protobufExtensions.enabled":"false","spark.sql.shuffle.partitions":"2","spark.sql.streaming.join.stateFormatVersion":"2","spark.sql.streaming.stateStore.compression.codec":"lz4","spark.sql.optimizer.pruneFiltersCanPruneStreamingSubplan":"false"}}
{"logOffset":1}', 0, 0, '2026-11-27T09:36:24.562769+00:00', 'function calls.<locals>.broken, ledger in postgresql://postgres:***@127.0.0.1:51223/foreachonce_c9bf711d46f8: at most once without your word: a batch that was interrupted stops the stream as in doubt', 'foreachonce 0.1.0, pyspark 4.2.0', 'write');
INSERT INTO public.foreachonce_ledger VALUES ('orders', 0, 'd011ceac-c286-43c8-b550-6f5372e4d24f', 0, '7da14355-eaa0-4367-9b05-f1a1547fe298', '0:-', '0:{"logOffset":0}', '{"0": {"start": [], "files": ["{\"path\":\"file:///data/orders/postgres/orders/source/00000.json\",\"timestamp\":1000,\"batchId\":0}"]}}', 'v1
{"batchWatermarkMs":0,"batchTimestampMs":1795772179994,"conf":{"spark.sql.streaming.stateStore.providerClass":"org.apache.spark.sql.execution.streaming.state.HDFSBackedStateStoreProvider","spark.sql.streaming.stateStore.rocksdb.mergeOperatorVersion":"2","spark.sql.streaming.stateStore.rocksdb.formatVersion":"5","spark.sql.streaming.queryEvolution.enableSourceEvolution":"false","spark.sql.streaming.stateStore.encodingFormat":"unsaferow","spark.sql.streaming.statefulOperator.useStrictDistribution":"true","spark.sql.streaming.flatMapGroupsWithState.stateFormatVersion":"2","spark.sql.streaming.multipleWatermarkPolicy":"min","spark.sql.streaming.stateStore.rowChecksum.enabled":"false","spark.sql.streaming.aggregation.stateFormatVersion":"2","spark.sql.function.protobufExtensions.enabled":"false","spark.sql.shuffle.partitions":"2","spark.sql.streaming.join.stateFormatVersion":"2","spark.sql.streaming.stateStore.compression.codec":"lz4","spark.sql.optimizer.pruneFiltersCanPruneStreamingSubplan":"false"}}
{"logOffset":0}', 0, 2, '2026-11-27T09:36:20.637174+00:00', 'postgresql://postgres:***@127.0.0.1:51223/foreachonce_c9bf711d46f8, table events, append: exactly once and atomic: rows and ledger entry are one PostgreSQL transaction', 'foreachonce 0.1.0, pyspark 4.2.0', 'write');
INSERT INTO public.foreachonce_ledger VALUES ('orders', 1, 'd011ceac-c286-43c8-b550-6f5372e4d24f', 1, '7da14355-eaa0-4367-9b05-f1a1547fe298', '0:{"logOffset":0}', '0:{"logOffset":1}', '{"0": {"start": ["{\"path\":\"file:///data/orders/postgres/orders/source/00000.json\",\"timestamp\":1000,\"batchId\":0}"], "files": ["{\"path\":\"file:///data/orders/postgres/orders/source/00001.json\",\"timestamp\":2000,\"batchId\":1}"]}}', 'v1
{"batchWatermarkMs":0,"batchTimestampMs":1795772180655,"conf":{"spark.sql.streaming.stateStore.providerClass":"org.apache.spark.sql.execution.streaming.state.HDFSBackedStateStoreProvider","spark.sql.streaming.stateStore.rocksdb.mergeOperatorVersion":"2","spark.sql.streaming.stateStore.rocksdb.formatVersion":"5","spark.sql.streaming.queryEvolution.enableSourceEvolution":"false","spark.sql.streaming.stateStore.encodingFormat":"unsaferow","spark.sql.streaming.statefulOperator.useStrictDistribution":"true","spark.sql.streaming.flatMapGroupsWithState.stateFormatVersion":"2","spark.sql.streaming.multipleWatermarkPolicy":"min","spark.sql.streaming.stateStore.rowChecksum.enabled":"false","spark.sql.streaming.aggregation.stateFormatVersion":"2","spark.sql.function.protobufExtensions.enabled":"false","spark.sql.shuffle.partitions":"2","spark.sql.streaming.join.stateFormatVersion":"2","spark.sql.streaming.stateStore.compression.codec":"lz4","spark.sql.optimizer.pruneFiltersCanPruneStreamingSubplan":"false"}}
{"logOffset":1}', 0, 2, '2026-11-27T09:36:21.330337+00:00', 'postgresql://postgres:***@127.0.0.1:51223/foreachonce_c9bf711d46f8, table events, append: exactly once and atomic: rows and ledger entry are one PostgreSQL transaction', 'foreachonce 0.1.0, pyspark 4.2.0', 'write');
INSERT INTO public.foreachonce_ledger VALUES ('orders', 2, 'd011ceac-c286-43c8-b550-6f5372e4d24f', 2, '7da14355-eaa0-4367-9b05-f1a1547fe298', '0:{"logOffset":1}', '0:{"logOffset":2}', '{"0": {"start": ["{\"path\":\"file:///data/orders/postgres/orders/source/00001.json\",\"timestamp\":2000,\"batchId\":1}"], "files": ["{\"path\":\"file:///data/orders/postgres/orders/source/00002.json\",\"timestamp\":3000,\"batchId\":2}"]}}', 'v1
{"batchWatermarkMs":0,"batchTimestampMs":1795772181390,"conf":{"spark.sql.streaming.stateStore.providerClass":"org.apache.spark.sql.execution.streaming.state.HDFSBackedStateStoreProvider","spark.sql.streaming.stateStore.rocksdb.mergeOperatorVersion":"2","spark.sql.streaming.stateStore.rocksdb.formatVersion":"5","spark.sql.streaming.queryEvolution.enableSourceEvolution":"false","spark.sql.streaming.stateStore.encodingFormat":"unsaferow","spark.sql.streaming.statefulOperator.useStrictDistribution":"true","spark.sql.streaming.flatMapGroupsWithState.stateFormatVersion":"2","spark.sql.streaming.multipleWatermarkPolicy":"min","spark.sql.streaming.stateStore.rowChecksum.enabled":"false","spark.sql.streaming.aggregation.stateFormatVersion":"2","spark.sql.function.protobufExtensions.enabled":"false","spark.sql.shuffle.partitions":"2","spark.sql.streaming.join.stateFormatVersion":"2","spark.sql.streaming.stateStore.compression.codec":"lz4","spark.sql.optimizer.pruneFiltersCanPruneStreamingSubplan":"false"}}
{"logOffset":2}', 0, 2, '2026-11-27T09:36:21.953082+00:00', 'postgresql://postgres:***@127.0.0.1:51223/foreachonce_c9bf711d46f8, table events, append: exactly once and atomic: rows and ledger entry are one PostgreSQL transaction', 'foreachonce 0.1.0, pyspark 4.2.0', 'write');
INSERT INTO public.foreachonce_ledger VALUES ('orders', 3, 'd011ceac-c286-43c8-b550-6f5372e4d24f', -3, '289efc3e-fd8c-4a96-baf0-0ad684acd93f', '0:{"logOffset":2}', '0:{"logOffset":2}', '{"0": {"start": ["{\"path\":\"file:///data/orders/postgres/orders/source/00002.json\",\"timestamp\":3000,\"batchId\":2}"], "files": []}}', 'v1
{"batchWatermarkMs":0,"batchTimestampMs":1795772181390,"conf":{"spark.sql.streaming.stateStore.providerClass":"org.apache.spark.sql.execution.streaming.state.HDFSBackedStateStoreProvider","spark.sql.streaming.stateStore.rocksdb.mergeOperatorVersion":"2","spark.sql.streaming.stateStore.rocksdb.formatVersion":"5","spark.sql.streaming.queryEvolution.enableSourceEvolution":"false","spark.sql.streaming.stateStore.encodingFormat":"unsaferow","spark.sql.streaming.statefulOperator.useStrictDistribution":"true","spark.sql.streaming.flatMapGroupsWithState.stateFormatVersion":"2","spark.sql.streaming.multipleWatermarkPolicy":"min","spark.sql.streaming.stateStore.rowChecksum.enabled":"false","spark.sql.streaming.aggregation.stateFormatVersion":"2","spark.sql.function.protobufExtensions.enabled":"false","spark.sql.shuffle.partitions":"2","spark.sql.streaming.join.stateFormatVersion":"2","spark.sql.streaming.stateStore.compression.codec":"lz4","spark.sql.optimizer.pruneFiltersCanPruneStreamingSubplan":"false"}}
{"logOffset":2}', 0, 0, '2026-11-27T09:36:22.071007+00:00', 'postgresql://postgres:***@127.0.0.1:51223/foreachonce_c9bf711d46f8, table events, append: exactly once and atomic: rows and ledger entry are one PostgreSQL transaction', 'foreachonce 0.1.0, pyspark 4.2.0', 'repair: checkpoint damaged, mended to go on after batch 2, the old one is in /data/orders/postgres/orders/checkpoint.aside-20261127T093622047542');
INSERT INTO public.foreachonce_ledger VALUES ('orders', 4, 'd011ceac-c286-43c8-b550-6f5372e4d24f', 3, '48a89d92-e884-4199-b5f9-5a13ec4e3100', '0:{"logOffset":2}', '0:{"logOffset":3}', '{"0": {"start": ["{\"path\":\"file:///data/orders/postgres/orders/source/00002.json\",\"timestamp\":3000,\"batchId\":2}"], "files": ["{\"path\":\"file:///data/orders/postgres/orders/source/00003.json\",\"timestamp\":4000,\"batchId\":3}"]}}', 'v1
{"batchWatermarkMs":0,"batchTimestampMs":1795772182129,"conf":{"spark.sql.streaming.stateStore.providerClass":"org.apache.spark.sql.execution.streaming.state.HDFSBackedStateStoreProvider","spark.sql.streaming.stateStore.rocksdb.mergeOperatorVersion":"2","spark.sql.streaming.stateStore.rocksdb.formatVersion":"5","spark.sql.streaming.queryEvolution.enableSourceEvolution":"false","spark.sql.streaming.stateStore.encodingFormat":"unsaferow","spark.sql.streaming.statefulOperator.useStrictDistribution":"true","spark.sql.streaming.flatMapGroupsWithState.stateFormatVersion":"2","spark.sql.streaming.multipleWatermarkPolicy":"min","spark.sql.streaming.stateStore.rowChecksum.enabled":"false","spark.sql.streaming.aggregation.stateFormatVersion":"2","spark.sql.function.protobufExtensions.enabled":"false","spark.sql.shuffle.partitions":"2","spark.sql.streaming.join.stateFormatVersion":"2","spark.sql.streaming.stateStore.compression.codec":"lz4","spark.sql.optimizer.pruneFiltersCanPruneStreamingSubplan":"false"}}
{"logOffset":3}', 0, 2, '2026-11-27T09:36:22.478626+00:00', 'postgresql://postgres:***@127.0.0.1:51223/foreachonce_c9bf711d46f8, table events, append: exactly once and atomic: rows and ledger entry are one PostgreSQL transaction', 'foreachonce 0.1.0, pyspark 4.2.0', 'write');
INSERT INTO public.foreachonce_ledger VALUES ('again', 0, 'a96f662e-00df-4694-bbf4-afd25e472a96', 0, '8c4a546d-38be-4884-87bf-04adaf9b0935', '0:-', '0:{"logOffset":0}', '{"0": {"start": [], "files": ["{\"path\":\"file:///data/orders/postgres/again/source/00000.json\",\"timestamp\":1000,\"batchId\":0}"]}}', 'v1
{"batchWatermarkMs":0,"batchTimestampMs":1795772182549,"conf":{"spark.sql.streaming.stateStore.providerClass":"org.apache.spark.sql.execution.streaming.state.HDFSBackedStateStoreProvider","spark.sql.streaming.stateStore.rocksdb.mergeOperatorVersion":"2","spark.sql.streaming.stateStore.rocksdb.formatVersion":"5","spark.sql.streaming.queryEvolution.enableSourceEvolution":"false","spark.sql.streaming.stateStore.encodingFormat":"unsaferow","spark.sql.streaming.statefulOperator.useStrictDistribution":"true","spark.sql.streaming.flatMapGroupsWithState.stateFormatVersion":"2","spark.sql.streaming.multipleWatermarkPolicy":"min","spark.sql.streaming.stateStore.rowChecksum.enabled":"false","spark.sql.streaming.aggregation.stateFormatVersion":"2","spark.sql.function.protobufExtensions.enabled":"false","spark.sql.shuffle.partitions":"2","spark.sql.streaming.join.stateFormatVersion":"2","spark.sql.streaming.stateStore.compression.codec":"lz4","spark.sql.optimizer.pruneFiltersCanPruneStreamingSubplan":"false"}}
{"logOffset":0}', 0, 2, '2026-11-27T09:36:22.912648+00:00', 'postgresql://postgres:***@127.0.0.1:51223/foreachonce_c9bf711d46f8, table events, append: exactly once and atomic: rows and ledger entry are one PostgreSQL transaction', 'foreachonce 0.1.0, pyspark 4.2.0', 'write');
INSERT INTO public.foreachonce_ledger VALUES ('again', 1, '08413560-0230-4b11-bc1d-6758d1b16459', 0, 'e29217a6-6467-48c7-8945-cd8650a741d3', '0:-', '0:{"logOffset":0}', '{"0": {"start": [], "files": ["{\"path\":\"file:///data/orders/postgres/again/source/00000.json\",\"timestamp\":1000,\"batchId\":0}"]}}', 'v1
{"batchWatermarkMs":0,"batchTimestampMs":1795772183024,"conf":{"spark.sql.streaming.stateStore.providerClass":"org.apache.spark.sql.execution.streaming.state.HDFSBackedStateStoreProvider","spark.sql.streaming.stateStore.rocksdb.mergeOperatorVersion":"2","spark.sql.streaming.stateStore.rocksdb.formatVersion":"5","spark.sql.streaming.queryEvolution.enableSourceEvolution":"false","spark.sql.streaming.stateStore.encodingFormat":"unsaferow","spark.sql.streaming.statefulOperator.useStrictDistribution":"true","spark.sql.streaming.flatMapGroupsWithState.stateFormatVersion":"2","spark.sql.streaming.multipleWatermarkPolicy":"min","spark.sql.streaming.stateStore.rowChecksum.enabled":"false","spark.sql.streaming.aggregation.stateFormatVersion":"2","spark.sql.function.protobufExtensions.enabled":"false","spark.sql.shuffle.partitions":"2","spark.sql.streaming.join.stateFormatVersion":"2","spark.sql.streaming.stateStore.compression.codec":"lz4","spark.sql.optimizer.pruneFiltersCanPruneStreamingSubplan":"false"}}
{"logOffset":0}', 0, 2, '2026-11-27T09:36:23.668086+00:00', 'postgresql://postgres:***@127.0.0.1:51223/foreachonce_c9bf711d46f8, table events, append: exactly once and atomic: rows and ledger entry are one PostgreSQL transaction', 'foreachonce 0.1.0, pyspark 4.2.0', 'on_mismatch=write: behind');
INSERT INTO public.foreachonce_ledger VALUES ('calls', 0, 'bc953788-afd0-42f3-adad-ca2632486ba2', 0, '6569c615-0da4-47af-aa02-54d23cc8f67d', '0:-', '0:{"logOffset":0}', '{"0": {"start": [], "files": ["{\"path\":\"file:///data/orders/postgres/calls/source/00000.json\",\"timestamp\":1000,\"batchId\":0}"]}}', 'v1
{"batchWatermarkMs":0,"batchTimestampMs":1795772183745,"conf":{"spark.sql.streaming.stateStore.providerClass":"org.apache.spark.sql.execution.streaming.state.HDFSBackedStateStoreProvider","spark.sql.streaming.stateStore.rocksdb.mergeOperatorVersion":"2","spark.sql.streaming.stateStore.rocksdb.formatVersion":"5","spark.sql.streaming.queryEvolution.enableSourceEvolution":"false","spark.sql.streaming.stateStore.encodingFormat":"unsaferow","spark.sql.streaming.statefulOperator.useStrictDistribution":"true","spark.sql.streaming.flatMapGroupsWithState.stateFormatVersion":"2","spark.sql.streaming.multipleWatermarkPolicy":"min","spark.sql.streaming.stateStore.rowChecksum.enabled":"false","spark.sql.streaming.aggregation.stateFormatVersion":"2","spark.sql.function.protobufExtensions.enabled":"false","spark.sql.shuffle.partitions":"2","spark.sql.streaming.join.stateFormatVersion":"2","spark.sql.streaming.stateStore.compression.codec":"lz4","spark.sql.optimizer.pruneFiltersCanPruneStreamingSubplan":"false"}}
{"logOffset":0}', 0, NULL, '2026-11-27T09:36:24.164560+00:00', 'function calls.<locals>.<lambda>, ledger in postgresql://postgres:***@127.0.0.1:51223/foreachonce_c9bf711d46f8: at least once: a batch that was interrupted is run again', 'foreachonce 0.1.0, pyspark 4.2.0', 'in_doubt=rerun');
INSERT INTO public.foreachonce_meta VALUES ('schema_version', '2');
INSERT INTO public.foreachonce_meta VALUES ('identity', '6a71b2a5-3ac4-41b0-9165-e478de28ee06');
INSERT INTO public.foreachonce_runs VALUES ('orders', 0, '7da14355-eaa0-4367-9b05-f1a1547fe298', 'd011ceac-c286-43c8-b550-6f5372e4d24f', '2026-11-27T09:36:20.226675+00:00');
INSERT INTO public.foreachonce_runs VALUES ('orders', 1, '289efc3e-fd8c-4a96-baf0-0ad684acd93f', 'd011ceac-c286-43c8-b550-6f5372e4d24f', '2026-11-27T09:36:22.064231+00:00');
INSERT INTO public.foreachonce_runs VALUES ('orders', 2, '48a89d92-e884-4199-b5f9-5a13ec4e3100', 'd011ceac-c286-43c8-b550-6f5372e4d24f', '2026-11-27T09:36:22.243235+00:00');
INSERT INTO public.foreachonce_runs VALUES ('again', 0, '8c4a546d-38be-4884-87bf-04adaf9b0935', 'a96f662e-00df-4694-bbf4-afd25e472a96', '2026-11-27T09:36:22.696852+00:00');
INSERT INTO public.foreachonce_runs VALUES ('again', 1, 'e29217a6-6467-48c7-8945-cd8650a741d3', '08413560-0230-4b11-bc1d-6758d1b16459', '2026-11-27T09:36:23.463276+00:00');
INSERT INTO public.foreachonce_runs VALUES ('calls', 0, '5845b2fb-1723-4ace-b247-cd32b75a36d9', 'bc953788-afd0-42f3-adad-ca2632486ba2', '2026-11-27T09:36:23.876047+00:00');
INSERT INTO public.foreachonce_runs VALUES ('calls', 1, '6569c615-0da4-47af-aa02-54d23cc8f67d', 'bc953788-afd0-42f3-adad-ca2632486ba2', '2026-11-27T09:36:24.148752+00:00');
INSERT INTO public.foreachonce_runs VALUES ('calls', 2, '498fb106-17fd-4fcb-9baa-ecd6e18a3d8c', 'bc953788-afd0-42f3-adad-ca2632486ba2', '2026-11-27T09:36:24.558241+00:00');
ALTER TABLE ONLY public.foreachonce_intents
    ADD CONSTRAINT foreachonce_intents_pkey PRIMARY KEY (stream, seq, attempt);
ALTER TABLE ONLY public.foreachonce_ledger
    ADD CONSTRAINT foreachonce_ledger_batch UNIQUE (stream, query_id, batch_id);
ALTER TABLE ONLY public.foreachonce_ledger
    ADD CONSTRAINT foreachonce_ledger_pkey PRIMARY KEY (stream, seq);
ALTER TABLE ONLY public.foreachonce_meta
    ADD CONSTRAINT foreachonce_meta_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.foreachonce_runs
    ADD CONSTRAINT foreachonce_runs_pkey PRIMARY KEY (stream, token);
ALTER TABLE ONLY public.foreachonce_runs
    ADD CONSTRAINT foreachonce_runs_run UNIQUE (stream, run_id);
