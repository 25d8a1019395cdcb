"""Places to break the library on purpose, a guarantee at a time; ``tests/mutation.py`` does it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
UNIT = "tests/unit/"
MODEL = "tests/unit/test_model.py"
JDBC = "tests/contract/test_jdbc_contract.py"
FUNCTION = "tests/contract/test_function_contract.py"
MARIADB = "tests/contract/test_mariadb.py"
MODES = "tests/contract/test_jdbc_modes.py"
TX = "tests/contract/test_transaction.py"
GENERIC = "tests/contract/test_jdbc_generic.py"
DELTA = "tests/contract/test_delta_contract.py::TestDelta"
TRAPS = "tests/contract/test_delta_traps.py"
DELTA_MERGE = "tests/contract/test_delta_merge.py"
DELTA_TABLES = "tests/contract/test_delta_tables.py"
HISTORY = "tests/unit/test_delta_history.py"
DELTA_LEDGER = "tests/unit/test_delta_ledger.py"
KAFKA = "tests/contract/test_kafka_contract.py"
EVENTS = "tests/unit/test_events.py"
RECOVERY = "tests/contract/test_recovery.py"
CLI = "tests/unit/test_cli_"
BEGIN = "tests/unit/test_begin.py"
OPERATIONS = "tests/contract/test_operations.py"
SOURCE_LOG = "tests/unit/test_source_log.py"
DIAGNOSIS = "tests/unit/test_diagnosis.py"
REBUILD = "tests/unit/test_rebuild.py"
STATE = "tests/unit/test_state.py"
MEND = "tests/unit/test_repair.py"


@dataclass(frozen=True)
class Mutant:
    """An edit, and the tests that must fail with it.

    Args:
        name: what is broken.
        file: below src/foreachonce.
        old, new: the edit; ``old`` is there exactly once.
        tests: selections of tests, each as arguments for pytest; every one of them must fail.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def needs_spark(self) -> bool:
        """Whether some of its tests do."""
        return not all(selection.startswith(UNIT) for selection in self.tests)


MUTANTS = [
    Mutant(
        "ledger-insert",
        "sql/statements.py",
        "        connection.execute(sa.insert(tables(schema).ledger), [values])",
        "        pass",
        (f"{JDBC}::TestSqlite::test_first_write_brings_rows_and_entry", MODEL),
    ),
    Mutant(
        "ledger-keys",
        "sql/statements.py",
        "        connection.execute(sa.insert(tables(schema).ledger), [values])",
        "        connection.execute(sa.insert(tables(schema).ledger).prefix_with('or ignore', dialect='sqlite'), [values])",
        ("tests/unit/test_sql_ledger.py",),
    ),
    Mutant(
        "entry-apart-from-the-rows",
        "sql/statements.py",
        '        fault("rows-written")\n',
        '        connection.commit()\n        fault("rows-written")\n',
        (f"{JDBC}::TestPostgresDirect::test_error_at_any_step_writes_once",),
    ),
    Mutant(
        "chain-check",
        "decide.py",
        '    return Write() if order == "equal" else Refuse(order, head)',
        "    return Write()",
        (f"{JDBC}::TestSqlite::test_lost_checkpoint_is_refused", MODEL),
    ),
    Mutant(
        "replay-by-ids-alone",
        "decide.py",
        "        return Skip(same_batch) if epoch.position.same_as(same_batch.position) else Refuse",
        "        return Skip(same_batch) if True else Refuse",
        (f"{JDBC}::TestSqlite::test_older_checkpoint_with_another_limit_is_refused", MODEL),
    ),
    Mutant(
        "files-of-the-start",
        "position.py",
        'if place == "equal" and _canonical(self.start_files) != _canonical(before.end_files):',
        "if False:",
        (f"{JDBC}::TestSqlite::test_same_offsets_with_other_files_do_not_line_up",),
    ),
    Mutant(
        "fence",
        "sql/statements.py",
        "    if ours_and_newest[-1].run_id != run_id:",
        "    if False:",
        (f"{JDBC}::TestPostgresDirect::test_paused_run_writes_nothing_after_it_was_replaced",),
    ),
    Mutant(
        "fence-at-commit",
        "sql/statements.py",
        "    if not is_held(connection, schema, stream, run_id):",
        "    if False:",
        ("tests/unit/test_fence.py",),
    ),
    Mutant(
        "fence-lock",
        "sql/statements.py",
        "    database.share_lock(connection, StreamLock(identity, stream, tables(schema).runs))",
        "    pass",
        (f"{JDBC}::TestPostgresDirect::test_paused_run_writes_nothing_after_it_was_replaced --timeout=40",),
    ),
    Mutant(
        "take-over-in-spite-of-a-new-head",
        "sql/ledger.py",
        "            if state.head != head:\n",
        "            if False:\n",
        ("tests/unit/test_fence.py",),
    ),
    Mutant(
        "state-feeding",
        "spark/resolve.py",
        "        if self.query.is_stateful:",
        "        if False:",
        (f"{JDBC}::TestSqlite::test_replay_of_a_stateful_query_feeds_its_state",),
    ),
    Mutant(
        "settling",
        "runner.py",
        "            return _settle(sink, error, epoch, report)",
        "            raise error",
        (f"{JDBC}::TestSqlite::test_lost_reply_to_a_commit_is_settled_by_the_ledger",),
    ),
    Mutant(
        "attempts-of-staged-rows",
        "sql/stage.py",
        "        accepted = table.c[ATTEMPT].in_([receipt.attempt for receipt in receipts])",
        "        accepted = sa.true()",
        (f"{JDBC}::TestPostgresStaged::test_task_that_is_repeated_half_way_writes_once",),
    ),
    Mutant(
        "intent",
        "sql/statements.py",
        "        connection.execute(sa.insert(tables(schema).intents), [values])",
        "        pass",
        (f"{FUNCTION}::test_batch_in_doubt_stops_the_stream",),
    ),
    Mutant(
        "doubt",
        "decide.py",
        "    if intent is None:",
        "    if True:",
        (
            f"{FUNCTION}::test_batch_in_doubt_stops_the_stream",
            f"{FUNCTION}::TestFunction::test_error_at_any_step_writes_once",
        ),
    ),
    Mutant(
        "frames-let-go",
        "spark/frames.py",
        "        frame.unpersist()",
        "        pass",
        (f"{TX}::test_frame_is_computed_once_and_let_go",),
    ),
    Mutant(
        "frames-kept",
        "spark/frames.py",
        "    frame.persist()",
        "    pass",
        (f"{TX}::test_frame_is_computed_once_and_let_go",),
    ),
    Mutant(
        "one-statement",
        "sql/databases/postgres.py",
        "        with driver.cursor(binary=True) as cursor:",
        "        with driver.cursor() as cursor:",
        (f"{TX}::test_bad_step_is_refused_and_nothing_is_written",),
    ),
    Mutant(
        "stages-cleared",
        "sql/stage.py",
        "    for name in names_of(connection, schema, stream):",
        "    for name in ():",
        ("tests/acceptance/test_kill_at_every_step.py::test_stages_of_a_killed_driver_are_cleared_by_the_next",),
    ),
    Mutant(
        "key-order",
        "sql/stage.py",
        ".order_by(*(last.c[name] for name in rows.target.key))",
        "",
        ("tests/contract/test_key_order.py",),
    ),
    Mutant(
        "skip-unchanged",
        "sql/databases/base.py",
        "where = differs if skip_unchanged else None",
        "where = None",
        (f"{MODES}::test_unchanged_rows_are_not_rewritten",),
    ),
    Mutant(
        "overwrite",
        "sql/paths.py",
        '    if rows.target.mode == "overwrite":',
        "    if False:",
        (f"{MODES}::test_batch_takes_the_place_of_all_rows",),
    ),
    Mutant(
        "more-than-few",
        "spark/frames.py",
        "return batches if sum(batch.num_rows for batch in batches) <= FEW_ROWS else None",
        "return batches",
        ("tests/contract/test_few_rows.py",),
    ),
    Mutant(
        "binary-null",
        "sql/databases/copy.py",
        "return pc.if_else(column.is_valid(), cells, pa.scalar(None, cells.type)) if column.null_count else cells",
        "return cells",
        ("tests/contract/test_postgres_copy.py",),
    ),
    Mutant(
        "far-past",
        "sql/databases/copy.py",
        "pc.subtract_checked(column",
        "pc.subtract(column",
        ("tests/contract/test_postgres_copy.py::test_instants_that_postgresql_has_not_are_refused",),
    ),
    Mutant(
        "copy-encoding",
        "sql/databases/copy.py",
        'is_utf8 = driver.info.encoding == "utf-8"',
        "is_utf8 = True",
        ("tests/contract/test_postgres_copy.py::test_text_arrives_whole_in_a_database_of_another_encoding",),
    ),
    Mutant(
        "overwrite-by-parts",
        "sql/sink.py",
        '        if mode not in ("complete", None):',
        "        if False:",
        (f"{MODES}::test_overwriting_with_parts_of_a_result_is_refused",),
    ),
    Mutant(
        "pruned-to-the-head",
        "sql/statements.py",
        "    last = newest - keep",
        "    last = newest",
        ("tests/unit/test_prune.py",),
    ),
    Mutant(
        "two-sinks-of-one-name",
        "runner.py",
        "    if entry.run_id == epoch.run_id and entry.sink != str(sink):",
        "    if False:",
        (f"{TX}::test_two_sinks_under_one_name_in_one_function_are_refused",),
    ),
    Mutant(
        "mariadb-warnings",
        "sql/databases/load_data.py",
        "        if not cursor.warning_count:",
        "        if True:",
        (f"{MARIADB}::test_value_that_would_be_changed_rolls_all_back",),
    ),
    Mutant(
        "mariadb-temporary-rows",
        "sql/stage.py",
        "    connection.execute(sa.delete(stage))",
        "    pass",
        ("tests/contract/test_jdbc_merge.py::test_rows_of_a_known_key_are_updated_and_others_inserted -k mariadb_url",),
    ),
    Mutant(
        "mariadb-truncate",
        "sql/databases/base.py",
        'connection.exec_driver_sql(f"DELETE FROM {name}")',
        'connection.exec_driver_sql(f"TRUNCATE TABLE {name}")',
        (f"{JDBC}::TestMariaDbStaged::test_error_at_any_step_writes_once",),
    ),
    Mutant(
        "mariadb-share",
        "sql/databases/mariadb.py",
        "        named_locks.share(connection, lock.key)",
        "        pass",
        (f"{JDBC}::TestMariaDbDirect::test_paused_run_writes_nothing_after_it_was_replaced",),
    ),
    Mutant(
        "mariadb-gate",
        "sql/databases/named_locks.py",
        "    if not _lock_gate(connection, key, GRACE_SECONDS):",
        "    if False:",
        (f"{MARIADB}::test_nobody_comes_in_while_a_stream_is_taken_over",),
    ),
    Mutant(
        "mariadb-release",
        "sql/databases/named_locks.py",
        'cursor.execute("select release_all_locks()")',
        "pass",
        (f"{MARIADB}::test_transactions_share_a_stream_and_let_it_go_at_their_end",),
    ),
    Mutant(
        "mariadb-engine",
        "sql/databases/load_data.py",
        '    if transactions != "YES":',
        "    if False:",
        (f"{MARIADB}::test_batch_into_a_table_without_transactions_writes_nothing",),
    ),
    Mutant(
        "mariadb-other-index",
        "sql/databases/load_data.py",
        "        if not _is_on(parts, key) and not is_numbered:",
        "        if False:",
        (f"{MARIADB}::test_table_that_would_mix_rows_up_is_refused",),
    ),
    Mutant(
        "mariadb-collation",
        "sql/databases/mariadb.py",
        'collation="utf8mb4_nopad_bin"',
        'collation="utf8mb4_general_ci"',
        (f"{MARIADB}::test_texts_that_spark_tells_apart_are_keys_of_their_own",),
    ),
    Mutant(
        "mariadb-statements",
        "sql/databases/mariadb.py",
        "        if word not in _IN_TRANSACTION:",
        "        if False:",
        (f"{MARIADB}::test_statement_that_commits_is_refused_before_it_does",),
    ),
    Mutant(
        "generic-attempts",
        "sql/spark_jdbc.py",
        "sa.and_(columns[ROWS].is_(None), sa.or_(sa.false(), *wanted))",
        "columns[ROWS].is_(None)",
        (f"{GENERIC}::test_attempt_that_committed_twice_is_written_once",),
    ),
    Mutant(
        "generic-receipts",
        "sql/spark_jdbc.py",
        "            if row.there == row.said:",
        "            if True:",
        (
            f"{GENERIC}::test_stage_that_has_lost_rows_is_not_promoted",
            f"{GENERIC}::test_attempt_that_committed_twice_is_written_once",
        ),
    ),
    Mutant(
        "generic-mark",
        "sql/spark_jdbc.py",
        "        if newest.pop(MARK, None) is None:",
        "        if newest.pop(MARK, None) is newest:",
        (f"{GENERIC}::test_two_databases_are_refused",),
    ),
    Mutant(
        "generic-fence",
        "sql/databases/generic.py",
        "    with bounded(connection):\n        connection.execute(statement)",
        "    return",
        (f"{GENERIC}::TestGenericOnPostgres::test_paused_run_writes_nothing_after_it_was_replaced",),
    ),
    Mutant(
        "generic-secrets",
        "sql/spark_jdbc.py",
        "self.writer.scrub(str(error))",
        "str(error)",
        (f"{GENERIC}::test_secrets_are_shown_nowhere", f"{GENERIC}::test_text_that_is_too_long_shows_no_row"),
    ),
    Mutant(
        "generic-one-statement",
        "sql/databases/generic.py",
        '        if ";" in statement',
        '        if "\\0" in statement',
        (f"{GENERIC}::test_hidden_commit_is_refused",),
    ),
    Mutant(
        "generic-stages-cleared",
        "sql/spark_jdbc.py",
        "            names = names_of(connection, schema, stream)",
        "            names = []",
        (f"{GENERIC}::test_stages_of_a_lost_driver_are_dropped",),
    ),
    Mutant(
        "delta-guard",
        "delta/commit.py",
        'return {"txnAppId": app_id(own.entry.stream), "txnVersion": str(own.guard), "userMetadata"',
        'return {"userMetadata"',
        (f"{TRAPS}::test_commit_in_flight_of_a_run_that_was_replaced_fails -k append",),
    ),
    Mutant(
        "delta-guard-of-merge",
        "delta/commit.py",
        "return {APP_ID: app_id(own.entry.stream), VERSION: str(own.guard), METADATA",
        "return {METADATA",
        (f"{TRAPS}::test_commit_in_flight_of_a_run_that_was_replaced_fails -k merge",),
    ),
    Mutant(
        "kafka-entry",
        "kafka/batch.py",
        "            producer.put_entry(record)",
        "            pass",
        (f"{KAFKA}::TestKafkaByDriver::test_first_write_brings_rows_and_entry",),
    ),
    Mutant(
        "kafka-look-after-fence",
        "kafka/batch.py",
        "        history.check_next(epoch, self.entry.seq - 1)",
        "        pass",
        (f"{KAFKA}::TestKafkaByTask::test_paused_run_writes_nothing_after_it_was_replaced -k fence-begun",),
    ),
    Mutant(
        "kafka-done",
        "kafka/batch.py",
        "        if part in batch.committed(batch.read()):\n            exhaust",
        "        if batch.committed(batch.read()) is None:\n            exhaust",
        (f"{KAFKA}::TestKafkaInParts::test_unfinished_batch_is_completed",),
    ),
    Mutant(
        "kafka-wait-for-siblings",
        "kafka/batch.py",
        "        if self.parts > 1:\n            self",
        "        if self.parts < 0:\n            self",
        (f"{KAFKA}::TestKafkaInParts::test_repeated_task_waits_for_the_transaction_beside_it",),
    ),
    Mutant(
        "kafka-fence-all-ids",
        "kafka/ledger.py",
        "        if taken.ids > 1:",
        "        if taken.ids < 0:",
        (f"{KAFKA}::TestKafkaInParts::test_ids_that_a_run_does_not_use_itself_are_fenced",),
    ),
    Mutant(
        "kafka-passed",
        "kafka/history.py",
        "self.unfinished.entry.seq == seq else",
        "seq >= 0 else",
        (f"{KAFKA}::TestKafkaInParts::test_unfinished_batch_is_passed_where_the_user_says_so",),
    ),
    Mutant(
        "kafka-unfinished",
        "kafka/history.py",
        "        if unfinished is None:",
        "        if unfinished is None or unfinished:",
        (f"{KAFKA}::TestKafkaInParts::test_other_rows_do_not_take_an_unfinished_batchs_place",),
    ),
    Mutant(
        "kafka-read-committed",
        "kafka/topic.py",
        'isolation_level="read_committed"',
        'isolation_level="read_uncommitted"',
        (f"{KAFKA}::TestKafkaByTask::test_error_at_any_step_writes_once",),
    ),
    Mutant(
        "kafka-abort",
        "kafka/producer.py",
        "        except BaseException:\n            self._abort()",
        "        except BaseException:\n            self._commit()",
        ("tests/contract/test_kafka_bad_input.py::test_row_without_a_topic_is_refused",),
    ),
    Mutant(
        "delta-types",
        "delta/fit.py",
        "        if not fits(value, column) and",
        "        if False and",
        ("tests/contract/test_delta_types.py::test_type_that_loses_values_is_refused",),
    ),
    Mutant(
        "delta-other-files",
        "delta/log.py",
        "        if other is not None:",
        "        if False:",
        ("tests/contract/test_delta_types.py::test_folder_of_other_files_is_refused",),
    ),
    Mutant(
        "delta-guard-over-restore",
        "delta/history.py",
        "    own = (commit for commit in commits if isinstance(commit, Own))",
        "    own = live(history)",
        (f"{TRAPS}::test_what_a_restore_undid_is_written_again", HISTORY),
    ),
    Mutant(
        "delta-head-over-restore",
        "delta/history.py",
        "        if isinstance(commit, Restore):",
        "        if False:",
        (f"{TRAPS}::test_what_a_restore_undid_is_written_again", HISTORY),
    ),
    Mutant(
        "delta-settings-of-merge",
        "delta/spark.py",
        "_jsparkSession.cloneSession()",
        "_jsparkSession",
        (f"{TRAPS}::test_merges_guard_is_seen_by_no_other_writer_of_the_session",),
    ),
    Mutant(
        "delta-fence",
        "delta/ledger.py",
        "    if held != _guard(newest):",
        "    if False:",
        (f"{DELTA}::test_paused_run_writes_nothing_after_it_was_replaced",),
    ),
    Mutant(
        "delta-lock-of-a-table",
        "delta/ledger.py",
        "        self.lock = RLock()",
        "        self.lock = next((table.lock for table in _tables.values()), RLock())",
        (f"{DELTA_LEDGER}::test_slow_log_delays_no_other_table",),
    ),
    Mutant(
        "delta-readers-of-a-table",
        "delta/ledger.py",
        "        with table.lock:",
        "        with RLock():",
        (f"{DELTA_LEDGER}::test_readers_of_one_table_wait_for_each_other",),
    ),
    Mutant(
        "delta-runs-in-memory",
        "delta/ledger.py",
        "        if len(self.guards) > RUNS:",
        "        if False:",
        (f"{DELTA_LEDGER}::test_runs_of_a_process_are_forgotten_oldest_first",),
    ),
    Mutant(
        "delta-replaced-run-in-memory",
        "delta/ledger.py",
        "    memory.hold(epoch.run_id, held)",
        "    memory.guards[epoch.run_id] = held",
        (f"{DELTA_LEDGER}::test_replaced_run_stays_fenced_while_it_comes",),
    ),
    Mutant(
        "delta-commits-in-memory",
        "delta/log.py",
        "        self._cache.forget_before(copied[-KEPT])",
        "        pass",
        (f"{DELTA_LEDGER}::test_commits_in_memory_are_bounded_by_the_copies",),
    ),
    Mutant(
        "delta-confirmation",
        "delta/ledger.py",
        "        rows = self.confirm(own).rows",
        "        rows = own.entry.rows",
        (f"{TRAPS}::test_commit_that_delta_skips_is_noticed", f"{TRAPS}::test_commit_without_its_entry_is_noticed"),
    ),
    Mutant(
        "delta-restored-amid-a-batch",
        "delta/ledger.py",
        "    if seq is not None and seq != own.entry.seq - 1:",
        "    if False:",
        (f"{TRAPS}::test_restore_amid_a_batch_is_noticed",),
    ),
    Mutant(
        "delta-same-batch",
        "delta/history.py",
        "        if (own.entry.query_id, own.entry.batch_id) == (query_id, batch_id):",
        "        if False:",
        (f"{DELTA}::test_replay_is_skipped_without_a_spark_job", HISTORY),
    ),
    Mutant(
        "delta-last-batch",
        "delta/history.py",
        "    return max(batch_id, next(earlier, -1))",
        "    return batch_id",
        (f"{HISTORY}::test_greatest_batch_of_a_query_is_known_to_its_head",),
    ),
    Mutant(
        "delta-copies",
        "delta/ledger.py",
        "            log.keep_copies()",
        "            pass",
        (f"{TRAPS}::test_idle_streams_head_outlives_log_clean_up",),
    ),
    Mutant(
        "delta-copies-of-another-table",
        "delta/log.py",
        "        while cache.copied and not",
        "        while False and not",
        (f"{HISTORY}::test_copies_of_another_table_are_dropped",),
    ),
    Mutant(
        "delta-copies-of-another-run",
        "delta/log.py",
        "            return (commit.guard, commit.entry.run_id) == (copy.guard, copy.entry.run_id)",
        "            return True",
        (f"{HISTORY}::test_copies_of_a_table_that_the_stream_wrote_anew_are_dropped",),
    ),
    Mutant(
        "delta-doubt",
        "delta/log.py",
        "            self._refuse_doubt(before)",
        "            pass",
        (f"{TRAPS}::test_clean_up_that_may_hide_a_restore_is_refused", HISTORY),
    ),
    Mutant(
        "delta-new-table-by-name",
        "delta/write.py",
        "    if root is None and not is_path(target.place):",
        "    if False:",
        (f"{DELTA_MERGE}::test_table_by_its_name_in_the_catalog",),
    ),
    Mutant(
        "delta-entry-alone",
        "delta/ledger.py",
        "        if root is None and not makes_table:",
        "        if not makes_table:",
        (f"{DELTA_TABLES}::test_table_without_a_step_gets_the_entry_alone",),
    ),
    Mutant(
        "delta-one-row-a-key",
        "delta/spark.py",
        'F.col("foreachonce_count") > 1',
        "F.lit(False)",
        (f"{DELTA_MERGE}::test_key_that_comes_twice_is_refused",),
    ),
    Mutant(
        "event-given-once",
        "observe/__init__.py",
        "        self._is_published = True",
        "        pass",
        (f"{EVENTS}::test_epoch_that_was_told_is_not_told_again_by_an_error",),
    ),
    Mutant(
        "event-of-an-error",
        "observe/__init__.py",
        "        if error is not None and not self._is_published:",
        "        if False:",
        (f"{EVENTS}::test_refused_epoch", f"{EVENTS}::test_failed_epoch_raises_the_error_itself"),
    ),
    Mutant(
        "observer-that-raises",
        "observe/__init__.py",
        '        except Exception:\n            log.warning("the observer',
        '        except AttributeError:\n            log.warning("the observer',
        (f"{EVENTS}::test_observer_that_raises_is_logged_once_and_breaks_nothing",),
    ),
    Mutant(
        "secret-in-an-event",
        "events.py",
        '    return hide_credentials(f"{type(error).__name__}: {line}")[:SHOWN]',
        '    return f"{type(error).__name__}: {line}"[:SHOWN]',
        (f"{EVENTS}::test_error_of_a_users_function_shows_no_password",),
    ),
    Mutant(
        "repair-entry",
        "recovery/repair.py",
        "    stream.ledger.append(Entry.next(head, epoch, sink=stream.sink, decision=why))",
        "",
        (f"{RECOVERY}::TestSqlite::test_every_damage_is_mended_and_every_row_there_once",),
    ),
    Mutant(
        "repair-of-a-settled-batch",
        "recovery/goal.py",
        "    settled = [*leading, *unfinished]",
        "    settled: list[Entry] = []",
        (
            f"{RECOVERY}::test_crash_between_two_sinks_and_a_lost_checkpoint",
            f"{RECOVERY}::test_call_in_doubt_is_settled_for_the_same_rows_after_a_lost_checkpoint",
        ),
    ),
    Mutant(
        "repair-without-state",
        "recovery/repair.py",
        "    if not (goal.is_stateful or (old is not None and old.exists(STATE))):",
        "    if True:",
        (f"{RECOVERY}::TestSqlite::test_state_that_is_gone_is_refused_and_read_again_where_the_user_says_so",),
    ),
    Mutant(
        "repair-makes-a-commit-up",
        "recovery/rebuild.py",
        "    if state is not None and state.runs_again:",
        "    if False:",
        (REBUILD, f"{RECOVERY}::TestSqlite::test_batch_that_spark_has_not_finished_feeds_its_state_again"),
    ),
    Mutant(
        "repair-broken-off",
        "recovery/repair.py",
        '    if folder.exists("") or not mended.exists("metadata") or not (was_entered or is_first):',
        "    if True:",
        (f"{RECOVERY}::TestSqlite::test_state_follows_a_checkpoint_that_is_put_back",),
    ),
    Mutant(
        "repair-of-what-is-no-checkpoint",
        "recovery/diagnosis.py",
        "    if others:",
        "    if False:",
        ("tests/unit/test_repair.py::test_what_is_no_checkpoint_is_not_moved",),
    ),
    Mutant(
        "repair-forgets-where-a-first-batch-begins",
        "recovery/rebuild.py",
        '    return Rebuilt({"metadata": metadata_text(query)}, tuple(kept))',
        '    return Rebuilt({"metadata": metadata_text(query)})',
        (f"{RECOVERY}::TestPostgresFromKafka::test_first_batch_that_was_never_written_begins_again",),
    ),
    Mutant(
        "repair-of-another-query",
        "recovery/repair.py",
        '    if diagnosis.kind in ("foreign", "other"):',
        "    if False:",
        (f"{RECOVERY}::test_checkpoint_of_another_query_is_refused",),
    ),
    Mutant(
        "repair-over-lost-files",
        "recovery/repair.py",
        "    if lost and not (accept_data_loss or dry_run):",
        "    if False:",
        (f"{RECOVERY}::test_files_that_were_deleted_before_they_were_read_are_named",),
    ),
    Mutant(
        "command-makes-a-ledger",
        "sql/ledger.py",
        '        if self.url.get_backend_name() == "sqlite" and not Path(str(self.url.database)).exists():',
        "        if False:",
        (f"{CLI}listing.py::test_ledger_that_is_not_there_is_said_and_not_made",),
    ),
    Mutant(
        "command-shows-a-password",
        "sql/address.py",
        "        query = {name: value for name, value in plain.query.items() if not _SECRET.search(name)}",
        "        query = plain.query",
        (f"{CLI}address.py::test_database_is_named_again_without_its_password",),
    ),
    Mutant(
        "command-takes-a-plain-secret",
        "address.py",
        "        if is_secret(name) and not is_from_environment(pair):",
        "        if False:",
        (f"{CLI}address.py::test_what_is_wrong_is_said_in_a_line_without_the_secret",),
    ),
    Mutant(
        "command-passes-a-begun-call",
        "recovery/repair.py",
        "_newest_batch(ledger, head), ledger.unfinished(name))",
        "_newest_batch(ledger, head), None)",
        (f"{CLI}doctor.py::test_call_of_a_function_that_was_begun_keeps_its_place",),
    ),
    Mutant(
        "command-agrees-always",
        "cli/doctor.py",
        "        return 2 if self.agrees is None else 0 if self.agrees else 1",
        "        return 0",
        (
            f"{CLI}doctor.py::test_command_of_the_doctor_mends_what_it_found",
            f"{CLI}doctor.py::test_foreign_checkpoint_cannot_be_told",
        ),
    ),
    Mutant(
        "command-proves-a-gap",
        "cli/timeline.py",
        "            self.breaks += breaks((self.last, entry))",
        "            pass",
        (f"{CLI}verify.py::test_gap_is_told_with_both_entries",),
    ),
    Mutant(
        "command-fails-as-a-no",
        "cli/__main__.py",
        "        sys.exit(3)",
        "        pass",
        (f"{CLI}app.py::test_error_of_the_command_itself_says_neither_yes_nor_no",),
    ),
    Mutant(
        "page-shows-markup",
        "cli/page.py",
        "autoescape=True",
        "autoescape=False",
        (f"{CLI}report.py::test_page_takes_nothing_from_elsewhere_and_shows_no_text_as_markup",),
    ),
    Mutant(
        "begin-after",
        "recovery/repair.py",
        "begin_anew(chain[-1], past)",
        "begin_anew(chain[0], past)",
        (
            f"{BEGIN}::test_checkpoint_is_built_from_it",
            f"{OPERATIONS}::test_what_came_after_an_entry_is_written_again_into_a_new_table",
        ),
    ),
    Mutant(
        "source-log-compacted-short",
        "checkpoint/formats.py",
        "for number in range(compact + 1) for line in log[number]",
        "for number in range(compact) for line in log[number]",
        (SOURCE_LOG, REBUILD, DIAGNOSIS),
    ),
    Mutant(
        "source-log-compacted-for-one-setting",
        "checkpoint/formats.py",
        "    for compact in (last - interval, last):",
        "    for compact in (last,):",
        (SOURCE_LOG,),
    ),
    Mutant(
        "interval-of-spark",
        "checkpoint/formats.py",
        "        return compacts[-1] - compacts[-2]",
        "        return setting",
        (SOURCE_LOG,),
    ),
    Mutant(
        "entries-of-a-compact-file",
        "checkpoint/formats.py",
        "(*range(wanted[-1], number - 1, -1), *range(wanted[-1] + 1, number + COMPACT_SEARCH))",
        "tuple(range(wanted[-1] + 1, number + COMPACT_SEARCH))",
        (SOURCE_LOG, "tests/unit/test_checkpoint.py"),
    ),
    Mutant(
        "checksums-without-spark",
        "checkpoint/local.py",
        "        if not _fits(content, _checksums(self._path / path)):",
        "        if False:",
        ("tests/unit/test_folders.py",),
    ),
    Mutant(
        "offsets-before-are-those-of-the-end",
        "recovery/rebuild.py",
        "{source: entry.position.sources[source].start for source in own.offsets}",
        "{source: entry.position.sources[source].end for source in own.offsets}",
        (REBUILD,),
    ),
    Mutant(
        "offsets-before-of-another-batch",
        "recovery/past.py",
        '    if before is not None and last.position.follows(before.position) == "equal":',
        "    if before is not None:",
        (REBUILD,),
    ),
    Mutant(
        "changed-batch",
        "recovery/diagnosis.py",
        '    alike = position.same_as(settled.position) and end.follows(settled.position) == "equal"',
        '    alike = end.follows(settled.position) == "equal"',
        (DIAGNOSIS,),
    ),
    Mutant(
        "changed-files-of-an-idle-source",
        "recovery/diagnosis.py",
        '    alike = position.same_as(settled.position) and end.follows(settled.position) == "equal"',
        "    alike = position.same_as(settled.position)",
        (DIAGNOSIS,),
    ),
    Mutant(
        "changed-start-of-a-planned-batch",
        "recovery/diagnosis.py",
        '        follows = goal.last is None or position.follows(goal.last.position) == "equal"',
        "        follows = True",
        (DIAGNOSIS,),
    ),
    Mutant(
        "gap-in-a-source-log",
        "recovery/diagnosis.py",
        "    lost = [str(number) for number in range(last + 1) if number not in present]",
        "    lost: list[str] = []",
        (DIAGNOSIS,),
    ),
    Mutant(
        "first-batch-from-elsewhere",
        "recovery/past.py",
        "if not (old is not None and",
        "if False and not (old is not None and",
        (DIAGNOSIS, REBUILD, STATE),
    ),
    Mutant(
        "log-of-a-checkpoint-that-was-cut-anew",
        "recovery/past.py",
        "            return above is not None and sorted(old_log[above]) == sorted(known[above])",
        "            return True",
        (REBUILD,),
    ),
    Mutant(
        "state-of-batches-that-were-cut-otherwise",
        "recovery/past.py",
        "    return can_go_on and _ends_alike(old, last) and",
        "    return can_go_on and",
        (STATE, MEND),
    ),
    Mutant(
        "state-of-batches-that-were-taken-back",
        "recovery/repair.py",
        "        mended.remove(path)",
        "        pass",
        (MEND,),
    ),
    Mutant(
        "log-of-a-source-without-files",
        "recovery/rebuild.py",
        "and not folder_log(old, name) and",
        "and",
        (REBUILD,),
    ),
    Mutant(
        "folder-of-a-source-that-is-used-twice",
        "position.py",
        "    if not shared:\n        return {source: source",
        "    if True:\n        return {source: source",
        (REBUILD, "tests/unit/test_position.py"),
    ),
]
