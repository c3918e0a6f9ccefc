-- Managed by targcc-gen: regenerate merges edits; `targcc-gen eject PATH` makes it yours
-- For the DBA: roles with the rights that processes need, and no more. Run the script in the scheduler's database, after the tables
-- exist and after each upgrade; repeated, it adds the rights on new tables. `targcc migrate --sql mssql --roles` prints it, too, with
-- the tables of features that the project adds.

-- serve, worker, targcc; with TARGCC_MIGRATE_ON_START=false: ALTER ROLE targcc_runtime ADD MEMBER [user];
IF DATABASE_PRINCIPAL_ID(N'targcc_runtime') IS NULL CREATE ROLE targcc_runtime;
GO
-- targcc migrate, and processes that upgrade the tables at their start: ALTER ROLE targcc_migrate ADD MEMBER [user];
IF DATABASE_PRINCIPAL_ID(N'targcc_migrate') IS NULL CREATE ROLE targcc_migrate;
GO
-- reports on runs and history: ALTER ROLE targcc_reader ADD MEMBER [user];
IF DATABASE_PRINCIPAL_ID(N'targcc_reader') IS NULL CREATE ROLE targcc_reader;
GO
GRANT CREATE TABLE TO targcc_migrate;
GRANT ALTER, REFERENCES, SELECT, INSERT, UPDATE, DELETE ON SCHEMA::dbo TO targcc_migrate;
GO
IF OBJECT_ID(N'c_AlembicVersion') IS NOT NULL
BEGIN
    GRANT SELECT ON c_AlembicVersion TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobAlert') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobAlert TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobAlertThread') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobAlertThread TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobAudit') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobAudit TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobBatch') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobBatch TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobBlob') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobBlob TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobBulk') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobBulk TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobBulkRun') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobBulkRun TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobConcern') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobConcern TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobDelivery') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobDelivery TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobFailure') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobFailure TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobIdempotency') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobIdempotency TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobLimit') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobLimit TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobLink') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobLink TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobLogLine') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobLogLine TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobMaintenance') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobMaintenance TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobNotice') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobNotice TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobOverride') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobOverride TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobOwner') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobOwner TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobQueue') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobQueue TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobRelease') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobRelease TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobRequest') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobRequest TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobRole') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobRole TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobRun') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobRun TO targcc_runtime;
    GRANT SELECT ON c_JobRun TO targcc_reader;
END;
GO
IF OBJECT_ID(N'c_JobSchedule') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobSchedule TO targcc_runtime;
    GRANT SELECT ON c_JobSchedule TO targcc_reader;
END;
GO
IF OBJECT_ID(N'c_JobServer') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobServer TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobSession') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobSession TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobSetting') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobSetting TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobShadow') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobShadow TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobStat') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobStat TO targcc_runtime;
    GRANT SELECT ON c_JobStat TO targcc_reader;
END;
GO
IF OBJECT_ID(N'c_JobStep') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobStep TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobTextDue') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobTextDue TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobToken') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobToken TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobUnique') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobUnique TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobUser') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobUser TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobView') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobView TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_JobWebhook') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_JobWebhook TO targcc_runtime;
END;
GO
IF OBJECT_ID(N'c_LoggedJob') IS NOT NULL
BEGIN
    GRANT SELECT, INSERT, UPDATE, DELETE ON c_LoggedJob TO targcc_runtime;
    GRANT SELECT ON c_LoggedJob TO targcc_reader;
END;
GO
