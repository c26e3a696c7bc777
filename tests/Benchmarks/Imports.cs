using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using Intercommunalite.Cli;
using Intercommunalite.Testing;

namespace Intercommunalite.Benchmarks;

/// <summary>
/// How fast files come into the journals, and in how much memory: one connector as a real process, without a broker, which takes a
/// large file through its HTTP interface. Beside it, what the machine needs to read the same bytes.
/// </summary>
internal static class Imports
{
    private static readonly TimeSpan s_betweenLooks = TimeSpan.FromMilliseconds(100);

    public static Command Command(Terminal terminal)
    {
        var deaths = new Option<int>("--deaths") { Description = "Lines of insee-deaths; 0 for none.", HelpName = "N", DefaultValueFactory = _ => 1_000_000 };
        var pes = new Option<int>("--pes") { Description = "Size of the PES Retour in MB; 0 for none.", HelpName = "MB", DefaultValueFactory = _ => 200 };
        var command = new Command("imports", "Measures the import of large files: lines a second to the journal, memory.") { deaths, pes };
        command.SetAction(async (parsed, cancellation) =>
        {
            if (parsed.GetValue(deaths) is > 0 and var lines)
                await MeasureAsync(terminal, "insee-deaths", "/files/insee-deaths", path => WriteDeaths(path, lines), cancellation);
            if (parsed.GetValue(pes) is > 0 and var size)
                await MeasureAsync(terminal, "pes-retour", $"/communes/{Workload.Territory.Communes[0].Code}/files/pes-retour", path => WritePes(path, size * 1_000_000L), cancellation);
            return 0;
        });
        return command;
    }

    private static async Task MeasureAsync(Terminal terminal, string format, string route, Action<string> write, CancellationToken cancellation)
    {
        var data = Directory.CreateTempSubdirectory("hub-benchmark-").FullName;
        try
        {
            var path = Path.Combine(data, "file");
            write(path);
            await using var connector = new ServiceProcess(ServiceProcess.Built("Connector"), new Dictionary<string, string?>
            {
                // Nobody listens there.
                ["ConnectionStrings__Bus"] = "amqp://guest:guest@127.0.0.1:1/",
                ["Access__Issuer"] = TestIssuer.Url.ToString(),
                ["Connector__Communes"] = string.Join(',', Workload.Territory.Communes.Select(commune => commune.Code)),
                ["Connector__DataDirectory"] = Path.Combine(data, "connector"),
                ["Logging__LogLevel__Default"] = "Error",
            });
            await connector.StartAsync();
            var processes = new Processes(("connector", connector.ProcessId, false));
            var (before, machineBefore) = (processes.Read()[0], Processes.MachineCpuSeconds());
            using var http = TestIssuer.Client(connector.Address, Workload.Territory.Communes.Select(commune => commune.Code.ToString()));
            http.Timeout = Timeout.InfiniteTimeSpan;
            var clock = Stopwatch.StartNew();
            await using var file = File.OpenRead(path);
            using var body = new StreamContent(file);
            using var posted = await http.PostAsync(new Uri(route, UriKind.Relative), body, cancellation);
            posted.EnsureSuccessStatusCode();
            var taken = clock.Elapsed;
            var (peak, state) = (0L, await posted.Content.ReadFromJsonAsync<JsonElement>(cancellation));
            var import = new Uri(posted.Headers.Location!.ToString(), UriKind.Relative);
            while (state.GetProperty("status").GetString() == "running")
            {
                await Task.Delay(s_betweenLooks, cancellation);
                peak = Math.Max(peak, processes.Read()[0].MemoryBytes);
                state = await http.GetFromJsonAsync<JsonElement>(import, cancellation);
            }

            var (read, after) = (clock.Elapsed - taken, processes.Read()[0]);
            var records = state.GetProperty("linesRead").GetInt64();
            var others = Processes.MachineCpuSeconds() - machineBefore - (after.CpuSeconds - before.CpuSeconds);
            terminal.Write(string.Create(CultureInfo.InvariantCulture, $"""
                {format}: {file.Length / 1e6:N0} MB, {records:N0} records, {state.GetProperty("accepted"):N0} events in the journals, {state.GetProperty("rejected")} rejected
                  taken in {taken.TotalSeconds:0.0} s, read in {read.TotalSeconds:0.0} s: {records / read.TotalSeconds:N0} records/s, {file.Length / read.TotalSeconds / 1e6:0.0} MB/s
                  CPU {(after.CpuSeconds - before.CpuSeconds) * 1e6 / records:0.0} µs a record; rest of the machine {others / clock.Elapsed.TotalSeconds:0.00} cores
                  memory {before.MemoryBytes / 1e6:0} MB before, {peak / 1e6:0} MB at most, {after.MemoryBytes / 1e6:0} MB after
                  the same bytes read as lines: {ReadLines(path):N0} lines/s
                """));
            if (state.GetProperty("status").GetString() != "completed" || state.GetProperty("accepted").GetInt64() != records)
                throw new Failure($"{format}: not every record came into the journals: {state.GetRawText()}");
        }
        finally
        {
            Directory.Delete(data, recursive: true);
        }
    }

    private static double ReadLines(string path)
    {
        var clock = Stopwatch.StartNew();
        return File.ReadLines(path, Encoding.Latin1).LongCount() / clock.Elapsed.TotalSeconds;
    }

    // A year after the other, each commune's deaths numbered in their order, as the yearly files have them.
    private static void WriteDeaths(string path, int lines)
    {
        string[] communes = [.. Workload.Territory.Communes.Select(commune => commune.Code.ToString())];
        using var file = new StreamWriter(path);
        file.WriteLine("\"nomprenom\";\"sexe\";\"datenaiss\";\"lieunaiss\";\"commnaiss\";\"paysnaiss\";\"datedeces\";\"lieudeces\";\"actedeces\"");
        for (var i = 0; i < lines; i++)
        {
            var day = new DateOnly(1970, 1, 1).AddDays((int)(i * 18_000L / lines));
            var birth = day.AddDays(-7_000 - (i * 37 % 20_000));
            file.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"\"NOM{i % 9_973}*PRENOM{i % 977} AUTRE{i % 31}/\";\"{(i % 2) + 1}\";\"{birth:yyyyMMdd}\";\"{communes[i % 7]}\";\"COMMUNE DE NAISSANCE\";\"\";\"{day:yyyyMMdd}\";\"{communes[i % communes.Length]}\";\"{i / communes.Length}\""));
        }
    }

    // Bordereaux of ten pieces, a line and two collections each.
    private static void WritePes(string path, long size)
    {
        using var file = new StreamWriter(path, append: false, Encoding.Latin1);
        file.WriteLine("""<?xml version="1.0" encoding="ISO-8859-1"?>""");
        file.WriteLine("""<n:PES_Retour xmlns:n="http://www.minefi.gouv.fr/cp/helios/pes_v2/Rev0/retour"><Enveloppe><Parametres><Version V="2"/><TypFic V="PESRETOUR_REC"/><NomFic V="x"/></Parametres></Enveloppe>""");
        file.WriteLine("""<EnTetePES><DteStr V="2026-08-13"/><IdPost V="035000"/><IdColl V="123456725"/><CodCol V="315"/><CodBud V="00"/></EnTetePES><PES_RecetteRetour><EnTeteRecette><IdVer V="2"/></EnTeteRecette>""");
        for (var (bordereau, encaissement) = (1, 1); file.BaseStream.Length < size; bordereau++)
        {
            file.WriteLine($"""<Bordereau><BlocBordereau><Exer V="2026"/><IdBord V="{bordereau}"/><DteBordEm V="2026-01-13"/><TypBord V="01"/><NbrPce V="10"/><MtBordHt V="2740.50"/></BlocBordereau>""");
            for (var piece = 1; piece <= 10; piece++)
            {
                file.WriteLine($"""<Piece><BlocPiece><IdPce V="{(bordereau * 10) + piece}"/><TypPce V="01"/><NatPce V="01"/><ObjPce V="Restauration scolaire"/><EtatPce V="02"/><DtePceInt V="2026-01-13"/><DtePcePec V="2026-01-16"/></BlocPiece>""");
                file.WriteLine("""<LigneDePiece><BlocLignePiece><InfoLignePiece><IdLigne V="1"/><Nature V="7067"/><MtHT V="274.05"/><MtTVA V="0"/></InfoLignePiece><InfoRecouvrement><NbrReco V="2"/><MtRecoTot V="151.56"/></InfoRecouvrement></BlocLignePiece>""");
                file.WriteLine("""<Tiers><InfoTiers><CatTiers V="01"/><Civilite V="MR"/><Nom V="DEBITEUR"/><Prenom V="JEAN"/></InfoTiers><Adresse><Adr2 V="9 AVENUE DU CHATEAU"/><CP V="35270"/><Ville V="COMBOURG"/></Adresse></Tiers>""");
                file.WriteLine($"""<Recouvrement><TypFlux V="01"/><ModRegl V="07"/><DteReco V="2026-03-10"/><IdEncaissement V="{encaissement++}"/><MtReco V="1.56"/></Recouvrement><Recouvrement><TypFlux V="01"/><ModRegl V="03"/><DteReco V="2026-03-15"/><IdEncaissement V="{encaissement++}"/><MtReco V="150"/></Recouvrement></LigneDePiece></Piece>""");
            }

            file.WriteLine("</Bordereau>");
        }

        file.WriteLine("</PES_RecetteRetour></n:PES_Retour>");
    }
}
