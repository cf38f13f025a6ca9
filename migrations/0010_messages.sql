CREATE TABLE "message_templates" (
	"app_id" text NOT NULL,
	"channel" "channel" NOT NULL,
	"locale" text NOT NULL,
	"revision" integer NOT NULL,
	"text" text,
	"subject" text,
	"html" text,
	"key_prompt" text,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "message_templates_app_id_channel_locale_revision_pk" PRIMARY KEY("app_id","channel","locale","revision")
);
--> statement-breakpoint
ALTER TABLE "message_templates" ADD CONSTRAINT "message_templates_app_id_apps_id_fk" FOREIGN KEY ("app_id") REFERENCES "public"."apps"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "apps" ADD COLUMN "template_revision" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "apps" ADD COLUMN "autofill_domain" text;--> statement-breakpoint
ALTER TABLE "apps" ADD COLUMN "android_app_hash" text;--> statement-breakpoint
ALTER TABLE "otp_requests" ADD COLUMN "template_revision" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "otp_requests" ADD COLUMN "autofill_domain" text;--> statement-breakpoint
ALTER TABLE "otp_requests" ADD COLUMN "android_app_hash" text;--> statement-breakpoint
ALTER TYPE "public"."audit_type" ADD VALUE 'template_changed';--> statement-breakpoint
ALTER TYPE "public"."audit_type" ADD VALUE 'template_deleted';
