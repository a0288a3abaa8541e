//! Keys that are accepted though no field reads them: older spellings, and what is Tyk's alone.
//!
//! They are put into the schema here, so that a definition exported from Tyk passes it.

use schemars::Schema;
use serde_json::{Value, json};

/// The schema key that marks what only Tyk reads.
pub const IGNORED: &str = "x-tyk-only";
/// The schema key of what `stagedoor config` does not list: older spellings, what is idle.
pub const UNLISTED: &str = "x-unlisted";

/// Older spellings of a definition, and the one or more keys that each stands for.
pub const DEFINITION_SPELLINGS: &[(&str, &[&str])] = &[
    ("certificate", &["certificates"]),
    ("enable_load_balancing", &["proxy.enable_load_balancing"]),
    ("check_host_against_uptime_tests", &["proxy.check_host_against_uptime_tests"]),
    ("uptime_tests.config.time_wait", &["uptime_tests.config.interval"]),
    (
        "uptime_tests.config.failure_trigger_sample_size",
        &["uptime_tests.config.fall", "uptime_tests.config.rise"],
    ),
];

/// The same for node settings.
pub const SETTINGS_SPELLINGS: &[(&str, &[&str])] = &[
    ("uptime_tests.config.time_wait", &["uptime_tests.config.interval"]),
    (
        "uptime_tests.config.failure_trigger_sample_size",
        &["uptime_tests.config.fall", "uptime_tests.config.rise"],
    ),
    ("defaults.uptime_tests.config.time_wait", &["defaults.uptime_tests.config.interval"]),
    (
        "defaults.uptime_tests.config.failure_trigger_sample_size",
        &["defaults.uptime_tests.config.fall", "defaults.uptime_tests.config.rise"],
    ),
];

/// Tyk's keys of a definition that mean something for HTTP only.
const DEFINITION: &str = "_id id org_id slug description version_name expiration tags_disabled \
     use_keyless use_oauth2 external_oauth use_openid openid_options oauth_meta auth \
     auth_configs use_basic_auth basic_auth enable_jwt use_standard_auth use_go_plugin_auth \
     enable_coprocess_auth custom_plugin_auth_enabled jwt_signing_method jwt_source \
     jwt_jwks_uris jwt_identity_base_field jwt_client_base_field jwt_policy_field_name \
     jwt_default_policies jwt_disable_issued_at_validation jwt_disable_expires_at_validation \
     jwt_disable_not_before_validation jwt_issued_at_validation_skew \
     jwt_expires_at_validation_skew jwt_not_before_validation_skew jwt_skip_kid \
     jwt_scope_to_policy_mapping jwt_scope_claim_name scopes idp_client_id_mapping_disabled \
     notifications enable_signature_checking hmac_allowed_clock_skew hmac_allowed_algorithms \
     request_signing base_identity_provided_by definition version_data disable_rate_limit \
     disable_quota custom_middleware custom_middleware_bundle custom_middleware_bundle_disabled \
     cache_options session_lifetime session_lifetime_respects_key_expiration \
     session_lifetime_override internal auth_provider session_provider \
     enable_batch_request_support ip_access_control_disabled dont_set_quota_on_create \
     expire_analytics_after response_processors CORS cors do_not_track enable_context_vars \
     config_data config_data_disabled tag_headers global_rate_limit strip_auth_data \
     enable_detailed_recording detailed_tracing graphql analytics_plugin tags is_oas is_site \
     upstream_auth application_protocol json_rpc_version hook_references sort_by \
     user_group_owners user_owners created_at updated_at";
const PROXY: &str = "listen_path strip_listen_path preserve_host_header disable_strip_slash";
const TRANSPORT: &str = "proxy_url";
const UPTIME_TESTS: &str = "disable poller_group";
const UPTIME_CONFIG: &str = "expire_utime_after recheck_wait service_discovery checker_pool_size \
     enable_uptime_analytics";

/// Tyk's events that can only happen to HTTP, its keys and its own certificates.
const EVENTS: &str = "QuotaExceeded RateLimitExceeded RateLimitSmoothingUp RateLimitSmoothingDown \
     AuthFailure UpstreamOAuthError KeyExpired VersionFailure OrgQuotaExceeded \
     OrgRateLimitExceeded TriggerExceeded BreakerTriggered BreakerTripped BreakerReset \
     TokenCreated TokenUpdated TokenDeleted CertificateExpiringSoon CertificateExpired";

/// Completes the schema of a definition.
pub fn definition(schema: &mut Schema) {
    ignore(schema, DEFINITION);
    for flag in ["enable_load_balancing", "check_host_against_uptime_tests"] {
        add(schema, flag, spelling(flag, &json!({ "type": ["boolean", "null"] }), "proxy."));
    }
    let certificates = schema.pointer("/properties/certificates").cloned();
    if let Some(certificates) = certificates {
        add(schema, "certificate", spelling("certificates", &certificates, ""));
    }
}

/// Completes the schema of `proxy`.
pub fn proxy(schema: &mut Schema) {
    ignore(schema, PROXY);
}

/// Completes the schema of `proxy.transport`.
pub fn transport(schema: &mut Schema) {
    ignore(schema, TRANSPORT);
}

/// Completes the schema of `uptime_tests`.
pub fn uptime_tests(schema: &mut Schema) {
    ignore(schema, UPTIME_TESTS);
}

/// Completes the schema of the node's `uptime_tests`.
pub fn node_uptime_tests(schema: &mut Schema) {
    ignore(schema, UPTIME_TESTS);
}

/// Completes the schema of `uptime_tests.config`.
pub fn uptime_config(schema: &mut Schema) {
    ignore(schema, UPTIME_CONFIG);
    for (older, newer) in [("time_wait", "interval"), ("failure_trigger_sample_size", "fall")] {
        let pointer = format!("/properties/{newer}");
        if let Some(property) = schema.pointer(&pointer).cloned() {
            add(schema, older, spelling(newer, &property, ""));
        }
    }
}

/// Completes the schema of `event_handlers.events`.
pub fn events(schema: &mut Schema) {
    ignore(schema, EVENTS);
}

fn ignore(schema: &mut Schema, keys: &str) {
    for key in keys.split_whitespace() {
        let about = "Tyk's, for HTTP: accepted and ignored.";
        add(schema, key, json!({ "description": about, IGNORED: true }));
    }
}

fn spelling(of: &str, schema: &Value, prefix: &str) -> Value {
    let mut schema = schema.clone();
    if let Some(object) = schema.as_object_mut() {
        let about = format!("The older spelling of `{prefix}{of}`.");
        object.insert("description".to_owned(), about.into());
        object.insert(UNLISTED.to_owned(), true.into());
    }
    schema
}

fn add(schema: &mut Schema, key: &str, property: Value) {
    let properties = schema.ensure_object().entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.insert(key.to_owned(), property);
    }
}
