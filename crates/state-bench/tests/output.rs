//! What the program prints, for those that read it by machine.

use std::process::Command;

use serde_json::Value;

#[test]
fn the_last_line_is_json_with_every_row_that_was_asked_for() {
    let program = env!("CARGO_BIN_EXE_state-bench");
    let arguments = ["--json", "--quick", "--backend", "memory", "--only", "get", "--only", "append"];
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let report: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| &row["row"]).collect::<Vec<_>>(), ["get", "append"]);
    for row in rows {
        assert!(row["cpu_us"].as_f64().unwrap() > 0.0, "{row}");
        let name = format!("memory/{}", row["row"].as_str().unwrap());
        let is_failed = report["failed"].as_array().unwrap().contains(&name.into());
        assert_eq!(is_failed, !row["met"].as_bool().unwrap(), "{report}");
    }
}
