using System.Net;
using System.Text;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Payments;
using Intercommunalite.Contracts.Schools;
using Xunit;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests;

/// <summary>The figures of all rooms as CSV.</summary>
public sealed class FigureFilesTests : IAsyncLifetime
{
    private readonly HubStore _hub = new();
    private HubServer _server = null!;

    public async Task InitializeAsync()
    {
        await _hub.InitializeAsync();
        _server = await HubServer.StartAsync(_hub);
    }

    public async Task DisposeAsync()
    {
        await _server.DisposeAsync();
        await _hub.DisposeAsync();
    }

    [Fact]
    public async Task Given_acts_When_the_indicators_are_asked_for_as_csv_Then_the_file_holds_the_rows_of_the_json()
    {
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-10-31"), "1", Tinteniac), "birth/2026/1");
        await _hub.ArriveAsync(new DeathRegistered(PartialDate.Parse("2026")), "death/2026/1", Tinteniac);
        await _hub.ProjectAsync();

        using var file = await _server.GetAsync("/api/v1/civil-records/indicators?format=csv&minPosition=0");
        Assert.Equal("text/csv; charset=utf-8", file.Content.Headers.ContentType?.ToString());
        Assert.Equal("attachment; filename=etat-civil-enregistrement-243500733.csv; filename*=UTF-8''etat-civil-enregistrement-243500733.csv", file.Content.Headers.ContentDisposition?.ToString());
        Assert.Equal(["2"], file.Headers.GetValues("X-Hub-Position"));
        Assert.Equal(
            """
            Code INSEE;Commune d’enregistrement;Période;Naissances;Reconnaissances;Mariages;PACS;Décès;Changements de nom ou de prénom
            35085;Combourg;2026-10;1;0;0;0;0;0
            35337;Tinténiac;2026;0;0;0;0;1;0

            """.ReplaceLineEndings("\r\n"),
            await MarkedTextAsync(file));

        using var residence = await _server.GetAsync("/api/v1/civil-records/indicators?format=csv&basis=residence&by=commune&commune=35337&from=2026-01&to=2026-12&separator=comma");
        Assert.Equal("etat-civil-domicile-35337-2026-01-2026-12.csv", residence.Content.Headers.ContentDisposition?.FileNameStar);
        Assert.Equal(
            """
            Code INSEE,Commune de domicile,Période,Naissances,Reconnaissances,Mariages,PACS,Décès,Changements de nom ou de prénom
            35337,Tinténiac,,1,0,0,0,0,0

            """.ReplaceLineEndings("\r\n"),
            await MarkedTextAsync(residence));
    }

    [Fact]
    public async Task Given_schools_When_the_rolls_are_asked_for_as_csv_Then_each_has_a_row_and_each_level_a_column()
    {
        var (school, year, day) = (Uai.Parse("0350122T"), new SchoolYear(2026), new DateOnly(2026, 9, 1));
        await _hub.ArriveAsync(new SchoolDeclared(school, "=École; \"les Lilas\"", year, [SchoolLevel.CP, SchoolLevel.CE1], 100), "0350122T");
        await _hub.ArriveAsync(new PupilEnrolled(school, year, SchoolLevel.CP, Combourg, day), "e/1");
        await _hub.ArriveAsync(new PupilEnrolled(school, year, SchoolLevel.CE1, Tinteniac, day, DerogationReason.Sibling), "e/2");
        // Pupils of a school that nobody declared.
        await _hub.ArriveAsync(new PupilEnrolled(Uai.Parse("0350123U"), year, SchoolLevel.PS, Combourg, day), "e/3");
        await _hub.ProjectAsync();

        using var file = await _server.GetAsync("/api/v1/schools/rolls?format=csv&schoolYear=2026");
        Assert.Equal("effectifs-scolaires-243500733-2026.csv", file.Content.Headers.ContentDisposition?.FileNameStar);
        Assert.Equal(
            """"
            Code INSEE;Commune;UAI;École;Année scolaire;Places;Élèves;dont hors commune;PS;MS;GS;CP;CE1;CE2;CM1;CM2;ULIS
            35085;Combourg;0350122T;"'=École; ""les Lilas""";2026-2027;100;2;1;0;0;0;1;1;0;0;0;0
            35085;Combourg;0350123U;;2026-2027;;1;0;1;0;0;0;0;0;0;0;0

            """".ReplaceLineEndings("\r\n"),
            await MarkedTextAsync(file));
    }

    [Theory]
    [InlineData("semicolon", "35085;Combourg;canteen;;1234,56;0,00;50,05;0,00;1184,51;0,00;0,00")]
    [InlineData("comma", "35085,Combourg,canteen,,1234.56,0.00,50.05,0.00,1184.51,0.00,0.00")]
    public async Task Given_payments_When_the_summary_is_asked_for_as_csv_Then_amounts_are_euros(string separator, string row)
    {
        await _hub.ArriveAsync(new InvoiceIssued(Slug.Parse("canteen"), new Cents(123456), new(2026, 9, 30)), "i/1");
        await _hub.ArriveAsync(new PaymentCollected(new Cents(5005), new(2026, 10, 15), "i/1"), "c/1");
        await _hub.ProjectAsync();

        using var file = await _server.GetAsync($"/api/v1/payments/summary?format=csv&by=service&separator={separator}");
        var titles = "Code INSEE;Commune;Service;Période;Émis (€);Réduit ou annulé (€);Encaissé (€);Remboursé (€);Reste à recouvrer (€);Trop-perçu (€);Payé en ligne (€)";
        Assert.Equal($"{titles.Replace(';', separator == "comma" ? ',' : ';')}\r\n{row}\r\n", await MarkedTextAsync(file));
    }

    [Fact]
    public async Task Given_no_format_When_figures_are_asked_for_Then_they_come_as_json_whatever_the_separator()
    {
        using var answer = await _server.GetAsync("/api/v1/payments/summary?separator=comma");
        Assert.Equal("""{"position":0,"items":[]}""", await answer.Content.ReadAsStringAsync());
        using var json = await _server.GetAsync("/api/v1/payments/summary?format=json");
        Assert.Equal("application/json", json.Content.Headers.ContentType?.MediaType);
    }

    [Theory]
    [InlineData("civil-records/indicators?format=xls", HttpStatusCode.BadRequest)]
    [InlineData("civil-records/indicators?format=CSV", HttpStatusCode.BadRequest)]
    [InlineData("schools/rolls?format=csv&separator=tab", HttpStatusCode.BadRequest)]
    [InlineData("payments/summary?format=csv&separator=;", HttpStatusCode.BadRequest)]
    [InlineData("payments/summary?format=csv&by=week", HttpStatusCode.BadRequest)]
    [InlineData("payments/summary?format=csv&minPosition=1", HttpStatusCode.PreconditionFailed)]
    public async Task Given_a_file_that_cannot_be_made_Then_a_problem_says_why(string path, HttpStatusCode status)
    {
        using var answer = await _server.GetAsync($"/api/v1/{path}");
        Assert.Equal(status, answer.StatusCode);
        Assert.Equal("application/problem+json", answer.Content.Headers.ContentType?.MediaType);
    }

    private static async Task<string> MarkedTextAsync(HttpResponseMessage file)
    {
        var bytes = await file.Content.ReadAsByteArrayAsync();
        Assert.Equal(HttpStatusCode.OK, file.StatusCode);
        Assert.Equal([0xEF, 0xBB, 0xBF], bytes[..3]);
        return Encoding.UTF8.GetString(bytes[3..]);
    }
}
