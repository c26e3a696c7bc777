using Intercommunalite.Connector.Access;
using Intercommunalite.Connector.Formats;
using Intercommunalite.Connector.Forwarding;
using Intercommunalite.Connector.Intake;
using Intercommunalite.Connector.Journal;
using Intercommunalite.ServiceDefaults;

var builder = WebApplication.CreateBuilder(args);
builder.AddServiceDefaults("connector");
builder.Services.AddSingleton(TimeProvider.System);
builder.Services.AddOpenApi();
builder.AddAccess();
builder.AddIntake();
builder.AddFormats();
builder.AddJournal();
builder.AddForwarding();

var app = builder.Build();
app.UseServiceDefaults();
app.UseAuthentication();
app.UseAuthorization();
app.UseRateLimiter();
app.MapOpenApi().AllowAnonymous();
app.MapIntake();
app.MapFormats();
app.Run();
