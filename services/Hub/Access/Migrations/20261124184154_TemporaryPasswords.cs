using System;
using Microsoft.EntityFrameworkCore.Migrations;

#nullable disable

namespace Intercommunalite.Hub.Access.Migrations
{
    /// <inheritdoc />
    public partial class TemporaryPasswords : Migration
    {
        /// <inheritdoc />
        protected override void Up(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.AddColumn<DateTimeOffset>(
                name: "TemporaryUntil",
                schema: "access",
                table: "AspNetUsers",
                type: "timestamp with time zone",
                nullable: true);
            // Those that are there get their days from now on.
            migrationBuilder.Sql("""UPDATE access."AspNetUsers" SET "TemporaryUntil" = now() + interval '7 days' WHERE "MustChangePassword";""");
        }

        /// <inheritdoc />
        protected override void Down(MigrationBuilder migrationBuilder)
        {
            migrationBuilder.DropColumn(
                name: "TemporaryUntil",
                schema: "access",
                table: "AspNetUsers");
        }
    }
}
