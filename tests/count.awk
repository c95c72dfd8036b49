# Passes on what the tests' runner prints; the last line is "N passed, N failed, N skipped", and the exit status is not 0 if any failed.
{ print; fflush() }
/ Total: / {
    count = $0
    gsub(/[^0-9,]/, "", count)
    split(count, n, ",")
    # Total, Errors, Failed, Skipped, Not Run
    finished = 1; failed = n[2] + n[3]; skipped = n[4]; passed = n[1] - n[3] - n[4] - n[5]
}
END {
    if (!finished) { failed++; print "FAILED: the tests did not run to their end" }
    else if (passed + failed == 0) { failed++; print "FAILED: no test ran" }
    printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
    exit failed > 0
}
