-- Managed by targcc-gen: regenerate merges edits; `targcc-gen eject PATH` makes it yours
-- For the DBA: a database for the scheduler, with READ_COMMITTED_SNAPSHOT, and a login. Repeated, the script changes nothing.
-- In SSMS, switch to SQLCMD mode and set the three names with :setvar. Else:
--   sqlcmd -S SERVER -b -I -v DatabaseName=jobs LoginName=jobs LoginPassword="..." -i migrations/database.mssql.sql

IF DB_ID(N'$(DatabaseName)') IS NULL
    CREATE DATABASE [$(DatabaseName)];
GO
-- Required: with this option, pages and workers read committed rows without waiting for rows that are being written.
IF EXISTS (SELECT 1 FROM sys.databases WHERE name = N'$(DatabaseName)' AND is_read_committed_snapshot_on = 0)
    ALTER DATABASE [$(DatabaseName)] SET READ_COMMITTED_SNAPSHOT ON WITH ROLLBACK IMMEDIATE;
GO
IF SUSER_ID(N'$(LoginName)') IS NULL
    CREATE LOGIN [$(LoginName)] WITH PASSWORD = N'$(LoginPassword)', DEFAULT_DATABASE = [$(DatabaseName)];
GO
USE [$(DatabaseName)];
GO
-- The rights that `targcc migrate` and the processes need. For fewer rights see roles.mssql.sql.
IF USER_ID(N'$(LoginName)') IS NULL
BEGIN
    CREATE USER [$(LoginName)] FOR LOGIN [$(LoginName)];
    ALTER ROLE db_ddladmin ADD MEMBER [$(LoginName)];
    ALTER ROLE db_datareader ADD MEMBER [$(LoginName)];
    ALTER ROLE db_datawriter ADD MEMBER [$(LoginName)];
END;
GO
