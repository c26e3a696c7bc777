using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.CivilRecords;
using Intercommunalite.Hub.Dashboard;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Feeds;
using Intercommunalite.Hub.Ingestion;
using Intercommunalite.Hub.OpenData;
using Intercommunalite.Hub.Payments;
using Intercommunalite.Hub.Privacy;
using Intercommunalite.Hub.Replay;
using Intercommunalite.Hub.Schools;
using Intercommunalite.Hub.Territory;
using Intercommunalite.ServiceDefaults;

var builder = WebApplication.CreateBuilder(args);
builder.AddServiceDefaults("hub");
builder.AddTerritory();
builder.AddEventStore();
builder.AddAccess();
builder.AddAudit();
builder.AddPrivacy();
builder.AddIngestion();
builder.AddCivilRecords();
builder.AddSchools();
builder.AddPayments();
builder.AddOpenData();
builder.AddAgreements();
builder.AddFeeds();
builder.AddDashboard();
builder.Services.AddSingleton(TimeProvider.System);
builder.Services.AddOpenApi();

var app = builder.Build();
app.UseServiceDefaults();
app.UseTokenRateLimit();
app.UseAuthentication();
app.UseRateLimiter();
app.UseAuthorization();
app.MapOpenApi().AllowAnonymous();
app.MapGroup("/api/v1").WithMetadata(Body.Limit)
    .MapAccess()
    .MapAudit()
    .MapPrivacy()
    .MapTerritory()
    .MapIngestion()
    .MapCivilRecords()
    .MapSchools()
    .MapPayments()
    .MapOpenData()
    .MapReplay()
    .MapAgreements()
    .MapFeedCalls();
app.MapTokenServer();
app.MapFeeds();
app.MapDashboard();
app.MapSignIn();
app.Run();
