-- Constraints that migrations made by hand, under the names that drizzle derives from the schema: a migration that
-- drizzle-kit writes looks for these.
alter table alert_notices rename constraint alert_notices_alert_id_fkey to alert_notices_alert_id_alerts_id_fk;
--> statement-breakpoint
alter table alerts rename constraint alerts_app_id_fkey to alerts_app_id_apps_id_fk;
--> statement-breakpoint
alter table app_hours rename constraint app_hours_app_id_fkey to app_hours_app_id_apps_id_fk;
--> statement-breakpoint
alter table app_hours rename constraint app_hours_pk to app_hours_app_id_environment_country_hour_pk;
--> statement-breakpoint
alter table list_entries rename constraint list_entries_app_id_fkey to list_entries_app_id_apps_id_fk;
--> statement-breakpoint
alter table number_lookups rename constraint number_lookups_app_id_fkey to number_lookups_app_id_apps_id_fk;
--> statement-breakpoint
alter table page_requests rename constraint page_requests_request_id_fkey to page_requests_request_id_otp_requests_id_fk;
--> statement-breakpoint
alter table pre_send_hooks rename constraint pre_send_hooks_app_id_fkey to pre_send_hooks_app_id_apps_id_fk;
--> statement-breakpoint
alter table preferences rename constraint preferences_pk to preferences_recipient_id_environment_pk;
--> statement-breakpoint
alter table recipient_verifications rename constraint recipient_verifications_pk to recipient_verifications_recipient_id_environment_pk;
--> statement-breakpoint
alter table recipient_verifications rename constraint recipient_verifications_recipient_id_fkey to recipient_verifications_recipient_id_recipients_id_fk;
--> statement-breakpoint
alter table send_blocks rename constraint send_blocks_app_id_fkey to send_blocks_app_id_apps_id_fk;
--> statement-breakpoint
alter table send_blocks rename constraint send_blocks_name_key to send_blocks_name_unique;
--> statement-breakpoint
alter table spending rename constraint spending_app_id_fkey to spending_app_id_apps_id_fk;
--> statement-breakpoint
alter table test_numbers rename constraint test_numbers_app_id_fkey to test_numbers_app_id_apps_id_fk;
