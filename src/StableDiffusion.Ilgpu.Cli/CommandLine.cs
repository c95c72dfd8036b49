using System.CommandLine;
using System.CommandLine.Invocation;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>The program <c>sdilgpu</c>: parses, runs a command and turns every failure into one line.</summary>
internal static class CommandLine
{
    public const int Success = 0;
    public const int Failure = 1;
    public const int UsageError = 2;

    /// <summary>What shells report for a process that Ctrl-C ended.</summary>
    public const int Cancelled = 130;

    public static int Run(string[] arguments, CommandContext context)
    {
        // Prompts may begin with '@' or look like bundled options; they are taken as they stand.
        var parsed = CreateRoot(context).Parse(
            arguments, new ParserConfiguration { EnablePosixBundling = false, ResponseFileTokenReplacer = null });
        if (parsed.Action is ParseErrorAction)
        {
            return Fail(context, UsageMessage(parsed), UsageError);
        }

        try
        {
            return parsed.Invoke(new InvocationConfiguration
            {
                Output = context.Output,
                Error = context.Error,
                EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = null,
            });
        }
        catch (OperationCanceledException) when (context.Cancellation.IsCancellationRequested)
        {
            context.Error.WriteLine("cancelled");
            return Cancelled;
        }
        catch (StableDiffusionException e)
        {
            return Fail(context, e.Message);
        }
        catch (OutOfMemoryException e)
        {
            return Fail(context, $"out of memory: {e.Message}");
        }
        catch (Exception e)
        {
            var exit = Fail(context, $"unexpected {e.GetType().Name}: {e.Message}");
            if (parsed.GetResult(SharedOptions.VerboseName) is { } && parsed.GetValue<bool>(SharedOptions.VerboseName))
            {
                context.Error.WriteLine(e);
            }

            return exit;
        }
    }

    private static RootCommand CreateRoot(CommandContext context) => new("Stable Diffusion, every operator an ILGPU kernel.")
    {
        DrawCommand.TextToImage(context),
        DrawCommand.ImageToImage(context),
        DevicesCommand.Create(context),
        CompareCommand.Create(context),
        InspectCommand.Create(context),
        ConvertCommand.Create(context),
        PullCommand.Create(context),
        MetadataCommand.Create(context),
    };

    private static string UsageMessage(ParseResult parsed)
    {
        var command = parsed.CommandResult.Command;
        var unknown = parsed.UnmatchedTokens is [var first, ..] ? first : null;
        if (command is RootCommand)
        {
            var problem = unknown is null ? "a command is missing" : $"unknown {Kind(unknown, "command")} '{unknown}'";
            return $"{problem}; valid: {string.Join(", ", command.Subcommands.Select(c => c.Name))}";
        }

        var message = unknown is null ? parsed.Errors[0].Message.TrimEnd('.') : $"unknown {Kind(unknown, "argument")} '{unknown}'";
        return $"{message} (sdilgpu {command.Name} --help lists the options)";
    }

    private static string Kind(string token, string otherwise) => token.StartsWith('-') ? "option" : otherwise;

    private static int Fail(CommandContext context, string message, int exit = Failure)
    {
        context.Error.WriteLine($"error: {message.ReplaceLineEndings(" ")}");
        return exit;
    }
}
