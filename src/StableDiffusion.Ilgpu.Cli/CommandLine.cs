using System.CommandLine;
using System.CommandLine.Invocation;
using System.CommandLine.Parsing;

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
        if (ForgottenValue(parsed, arguments) is var (option, next))
        {
            return Fail(context, $"{option} has no value: '{next}', which follows it, is another option (as a value it is written {option}={next})", UsageError);
        }

        if (parsed.Action is ParseErrorAction)
        {
            return Fail(context, UsageMessage(parsed), UsageError);
        }

        if (EmptyOption(parsed) is { } empty)
        {
            return Fail(context, $"{empty} has an empty value; give it one, or leave it out", UsageError);
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
            return Tell(context, "cancelled", Cancelled);
        }
        catch (StableDiffusionException e)
        {
            return Fail(context, e.Message);
        }
        catch (OutOfMemoryException)
        {
            // .NET's word for threads too that the system does not give.
            return Fail(context, "out of memory, or of threads: the system gives no more (ulimit -a shows a process's limits; containers have their own)");
        }
        catch (Exception e)
        {
            var exit = Fail(context, $"unexpected {e.GetType().Name}: {e.Message}");
            if (parsed.GetResult(SharedOptions.VerboseName) is { } && parsed.GetValue<bool>(SharedOptions.VerboseName))
            {
                context.Error.WriteLine(ShownText.Lines(e.ToString()));
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

    /// <summary>An option whose value was forgotten, so that the next option's name was taken for it.</summary>
    private static (string Option, string Next)? ForgottenValue(ParseResult parsed, string[] arguments)
    {
        var options = parsed.CommandResult.Command.Options.Concat(parsed.RootCommandResult.Command.Options)
            .SelectMany(o => o.Aliases.Append(o.Name).Select(name => (name, o))).DistinctBy(o => o.name).ToDictionary();
        for (var i = 0; i + 1 < arguments.Length && arguments[i] != "--"; i++)
        {
            var takesValue = options.TryGetValue(arguments[i], out var option) && option.Arity.MinimumNumberOfValues > 0;
            if (takesValue && options.ContainsKey(arguments[++i]))
            {
                return (arguments[i - 1], arguments[i]);
            }
        }

        return null;
    }

    /// <summary>Prompts alone may be empty.</summary>
    private static string? EmptyOption(ParseResult parsed) => parsed.CommandResult.Children.OfType<OptionResult>()
        .FirstOrDefault(o => o.Option.Name is not ("--prompt" or "--negative-prompt") && o.Tokens.Any(t => t.Value.Length == 0))?.Option.Name;

    private static int Fail(CommandContext context, string message, int exit = Failure) =>
        Tell(context, $"error: {message}", exit);

    private static int Tell(CommandContext context, string line, int exit)
    {
        context.Error.WriteLine(CommandContext.Shown(line));
        return exit;
    }
}
