using System.Globalization;
using StableDiffusion.Ilgpu.Cli;

// Numbers are written as options take them, whatever the user's language; some container images switch cultures on for all programs.
CultureInfo.DefaultThreadCurrentCulture = CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
using var stop = new StopSignals();
var (output, error) = StandardStreams.Open();
Console.SetOut(new ResultWriter(output));
return stop.ExitCode(CommandLine.Run(args, new CommandContext(Console.Out, new ErrorWriter(error), !Console.IsOutputRedirected, stop.Token)));
