using System.Runtime.InteropServices;
using System.Text.Json.Nodes;

namespace StableDiffusion.Ilgpu.Benchmarks.Serving;

/// <summary>
/// One side of the comparison's protocol: a process with a model in memory, which does one piece of work at a time when it is told to.
/// Requests are lines of standard input, answers are lines of JSON; the first line is sent without a request, once the model is ready.
/// </summary>
internal static class Server
{
    /// <summary>Behind the key of a piece of work: do it and send its result.</summary>
    public const string OutputSuffix = "_output";

    /// <summary>Serves until the input ends.</summary>
    /// <exception cref="StableDiffusionException">A request is none of the protocol's.</exception>
    public static void Run(IServedModel model, TextReader input, TextWriter output)
    {
        var about = new JsonObject { ["about"] = model.About };
        foreach (var work in Work.All)
        {
            if (model.Gflop(work) is { } gflop)
            {
                about[$"{work.Key}_gflop"] = gflop;
            }
        }

        Send(about);
        while (input.ReadLine() is { } request)
        {
            Send(Answer(model, request));
        }

        void Send(JsonObject line)
        {
            output.WriteLine(line.ToJsonString());
            output.Flush();
        }
    }

    private static JsonObject Answer(IServedModel model, string request)
    {
        foreach (var work in Work.All)
        {
            if (request == work.Key)
            {
                return new JsonObject { [work.MillisecondsKey] = model.Run(work) };
            }

            if (request == work.Key + OutputSuffix)
            {
                model.Run(work);
                return new JsonObject { [request] = Convert.ToBase64String(MemoryMarshal.AsBytes<float>(model.Output(work))) };
            }
        }

        var valid = Work.All.SelectMany(w => new[] { w.Key, w.Key + OutputSuffix });
        throw new StableDiffusionException($"request '{request}' is not known; valid: {string.Join(", ", valid)}");
    }
}
