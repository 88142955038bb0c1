CREATE TABLE "schedules" (
	"id" text PRIMARY KEY NOT NULL,
	"tenant_id" text NOT NULL,
	"status" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"version" bigint NOT NULL,
	"size" integer NOT NULL,
	"data" json NOT NULL,
	"session_id" text NOT NULL,
	"labels" jsonb NOT NULL
);
--> statement-breakpoint
CREATE INDEX "schedules_newest" ON "schedules" USING btree ("tenant_id","created_at" DESC NULLS LAST,"id" DESC NULLS LAST);