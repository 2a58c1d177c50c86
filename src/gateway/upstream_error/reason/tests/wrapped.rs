//! Errors that come in something else, in parts, or under names of their own, each with what must be read in it.

use serde_json::{Value, json};

use super::read;

#[test]
fn an_error_is_found_in_what_it_comes_in() {
    // message, code, type, param
    let table: Vec<(Value, Value)> = vec![
        (
            json!({"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": "{\"error\":{\"message\":\"too long\",\"type\":\"invalid_request_error\",\"param\":\"messages\",\"code\":\"context_length_exceeded\"}}", "provider_name": "X"}}}),
            json!(["Provider returned error: too long", "context_length_exceeded", "invalid_request_error", "messages"]),
        ),
        (
            json!({"error": {"message": "Provider returned error", "code": 429, "metadata": {"raw": {"message": "slow", "type": "tokens"}}}}),
            json!(["Provider returned error: slow", 429, "tokens", null]),
        ),
        (
            json!({"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": "ERROR plain"}}}),
            json!(["Provider returned error: ERROR plain", 400, null, null]),
        ),
        (
            json!({"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": "[{\"error\":{\"status\":\"INVALID_ARGUMENT\",\"message\":\"bad\"}}]"}}}),
            json!(["Provider returned error: bad", 400, "INVALID_ARGUMENT", null]),
        ),
        (
            json!({"error": {"message": "{\"error\":{\"message\":\"too long\",\"type\":\"invalid_request_error\",\"param\":\"messages\",\"code\":\"context_length_exceeded\"}}", "type": "x", "code": 400}}),
            json!(["too long", "context_length_exceeded", "invalid_request_error", "messages"]),
        ),
        (json!({"error": {"message": "{\"a\":1}", "code": 400}}), json!([r#"{"a":1}"#, 400, null, null])),
        (
            json!({"detail": {"error": {"message": "bad tool", "code": "bad_tool", "type": "t", "param": "tools"}}}),
            json!(["bad tool", "bad_tool", "t", "tools"]),
        ),
        (
            json!({"message": {"error": {"message": "bad tool", "code": "bad_tool", "type": "t", "param": "tools"}}}),
            json!(["bad tool", "bad_tool", "t", "tools"]),
        ),
        (json!({"error": {"message": {"error": {"message": "deep", "code": "cc"}}, "code": 400}}), json!(["deep", "cc", null, null])),
        (
            json!({"message": "The given data was invalid.", "errors": {"temperature": ["must be at most 2"]}}),
            json!(["The given data was invalid. temperature: must be at most 2", null, null, "temperature"]),
        ),
        (
            json!({"errors": {"temperature": ["must be at most 2", "must be a number"], "top_p": ["is too large"]}}),
            json!(["temperature: must be at most 2; must be a number; top_p: is too large", null, null, "temperature"]),
        ),
        (json!({"errors": {"temperature": "must be at most 2"}}), json!(["temperature: must be at most 2", null, null, "temperature"])),
        (json!({"errors": {"message": "no such model", "code": "c", "type": "t"}}), json!(["no such model", "c", "t", null])),
        (
            json!({"type": "https://example.com/x", "title": "One or more validation errors occurred.", "status": 400, "errors": {"$.model": ["The model field is required."]}}),
            json!(["One or more validation errors occurred. The model field is required.", null, "https://example.com/x", "model"]),
        ),
        (
            json!({"title": "Unprocessable", "status": 422, "detail": "The detail", "errors": {"": ["A body is needed."]}}),
            json!(["Unprocessable: The detail: A body is needed.", null, null, null]),
        ),
        (
            json!({"success": false, "error": {"issues": [{"code": "invalid_type", "path": ["model"], "message": "Required"}], "name": "ZodError"}}),
            json!(["model: Required", "invalid_type", null, "model"]),
        ),
        (
            json!({"error": {"name": "ZodError", "message": "[{\"path\":[\"messages\",0,\"role\"],\"message\":\"Required\"}]"}}),
            json!(["messages.0.role: Required", null, null, "messages.0.role"]),
        ),
        (json!({"error": {"formErrors": [], "fieldErrors": {"model": ["Required"]}}}), json!(["model: Required", null, null, "model"])),
        (
            json!({"errors": [{"message": "must be <= 2", "instancePath": "/messages/0/n"}]}),
            json!(["messages.0.n: must be <= 2", null, null, "messages.0.n"]),
        ),
        (
            json!({"title": "Input validation failed", "invalid_fields": [{"type": "required", "field": "input", "description": "x is required"}]}),
            json!(["Input validation failed: input: x is required", null, "required", "input"]),
        ),
        (
            json!({"error": {"code": 400, "message": "bad", "status": "INVALID_ARGUMENT", "details": [{"fieldViolations": [{"field": "contents", "description": "is not specified"}]}]}}),
            json!(["bad", 400, "INVALID_ARGUMENT", "contents"]),
        ),
        (json!({"error": {"message": "m", "param": ["messages", 0]}}), json!(["m", null, null, "messages.0"])),
        (
            json!({"timestamp": "2026", "status": 404, "error": "Not Found", "path": "/v1/chat/completions"}),
            json!(["Not Found", null, null, null]),
        ),
        (json!({"Error": {"Code": "ThrottlingException", "Message": "slow"}}), json!(["slow", "ThrottlingException", null, null])),
        (json!({"__type": "ThrottlingException", "message": "slow"}), json!(["slow", null, "ThrottlingException", null])),
        (json!({"base_resp": {"status_code": 400, "status_msg": "bad"}}), json!(["bad", null, null, null])),
        (json!({"error_code": 336, "error_msg": "the max length"}), json!(["the max length", 336, null, null])),
        (json!({"errorCode": "BAD", "errorMessage": "the message"}), json!(["the message", "BAD", null, null])),
        (
            json!({"ResponseMetadata": {"RequestId": "r", "Error": {"Code": "InvalidParameter", "Message": "volc says"}}}),
            json!(["volc says", "InvalidParameter", null, null]),
        ),
        (
            json!({"fault": {"faultstring": "Rate limit quota violation", "detail": {"errorcode": "policies.ratelimit.QuotaViolation"}}}),
            json!(["Rate limit quota violation", "policies.ratelimit.QuotaViolation", null, null]),
        ),
        (json!({"status": "failure", "message": "Invalid config"}), json!(["Invalid config", null, null, null])),
        (json!({"error": {"message": "m", "type": "Error"}}), json!(["m", null, null, null])),
        (
            json!({"errors": [{"status": "422", "title": "Invalid", "detail": "must be less", "source": {"pointer": "/data/n"}}]}),
            json!(["Invalid: must be less", null, null, "data.n"]),
        ),
        (
            json!({"errors": [{"message": "not for you", "extensions": {"code": "UNAUTHENTICATED"}}]}),
            json!(["not for you", "UNAUTHENTICATED", null, null]),
        ),
        (
            json!({"errors": [{"code": "model_not_supported", "message": "not supported"}], "trace": "t", "status_code": 400}),
            json!(["not supported", "model_not_supported", null, null]),
        ),
    ];
    for (body, expected) in table {
        let read = read(body.to_string().as_bytes(), false);
        assert_eq!(json!([read.message, read.code, read.kind, read.param]), expected, "{body}");
    }
}
