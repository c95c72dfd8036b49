using System.Net.Http.Headers;

namespace StableDiffusion.Ilgpu.Cli.Downloads;

/// <summary>Where a file's bytes are, and what the hub said on the way there.</summary>
/// <param name="Address">The address behind all redirects.</param>
/// <param name="Size">Bytes, where a reply says.</param>
/// <param name="Tag">The entity tag of the content.</param>
internal sealed record HubLocation(Uri Address, long? Size, string? Tag);

/// <summary>
/// The public HTTP interface of a Hugging Face hub: model info, and files under <c>resolve</c>. Redirects are followed by hand,
/// so that the token goes to the hub alone and the headers of the hub's own reply (<c>X-Linked-Size</c>, <c>X-Linked-ETag</c>) are seen.
/// Replies that another try may mend are <see cref="TransientException"/>, all others <see cref="StableDiffusionException"/>.
/// </summary>
internal sealed class HubClient : IDisposable
{
    public const string DefaultEndpoint = "https://huggingface.co";
    private const int MostRedirects = 10;
    private const int MostListingBytes = 32 << 20;
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(15);

    /// <summary>A server that sends nothing for so long counts as gone.</summary>
    private static readonly TimeSpan Silence = TimeSpan.FromSeconds(60);

    private readonly Uri endpoint;
    private readonly string? token;
    private readonly HttpClient http;

    public HubClient(string address, string? token, TimeSpan firstDelay)
    {
        if (!Uri.TryCreate(address.TrimEnd('/') + "/", UriKind.Absolute, out var parsed) || !IsWeb(parsed))
        {
            throw new StableDiffusionException($"HF_ENDPOINT '{address}' is not an address: it begins with https://");
        }

        (endpoint, FirstDelay) = (parsed, firstDelay);

        // In the clear a token goes no further than this machine.
        this.token = parsed.Scheme == Uri.UriSchemeHttps || parsed.IsLoopback ? token : null;
        http = new HttpClient(new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            ConnectTimeout = ConnectTimeout,

            // HTTPS_PROXY and the like, but no proxy can reach this machine's own addresses.
            UseProxy = !parsed.IsLoopback,
            UseCookies = false,
        })
        {
            Timeout = Timeout.InfiniteTimeSpan,
        };
        http.DefaultRequestHeaders.UserAgent.ParseAdd("sdilgpu/0.1");
        http.DefaultRequestHeaders.AcceptEncoding.ParseAdd("identity");
    }

    /// <summary>The wait before the second try of a request.</summary>
    public TimeSpan FirstDelay { get; }

    public void Dispose() => http.Dispose();

    /// <summary>The files of a repository, with sizes and digests where the hub gives them.</summary>
    public Task<HubListing> ListAsync(HubReference reference, CancellationToken cancellation)
    {
        var address = new Uri(
            endpoint, $"api/models/{reference.Repository}/revision/{Uri.EscapeDataString(reference.Revision)}?blobs=true");
        var what = $"{reference with { File = null }}";
        return Retries.RunAsync(
            FirstDelay,
            async () =>
            {
                var (response, _) = await SendAsync(HttpMethod.Get, address, null, what, null, cancellation);
                using (response)
                {
                    return HubListing.Parse(await ReadAllAsync(response, what, cancellation), what);
                }
            },
            cancellation);
    }

    /// <summary>Asks where a file is. Only the hub is asked: an address elsewhere may be signed for fetching alone.</summary>
    /// <param name="file">The file, as messages name it.</param>
    /// <param name="commit">The commit to take it from.</param>
    /// <param name="cancellation">Stops the request.</param>
    public Task<HubLocation> LocateAsync(HubReference file, string commit, CancellationToken cancellation)
    {
        var path = string.Join('/', file.File!.Split('/').Select(Uri.EscapeDataString));
        var address = new Uri(endpoint, $"{file.Repository}/resolve/{Uri.EscapeDataString(commit)}/{path}");
        return Retries.RunAsync(
            FirstDelay,
            async () =>
            {
                long? size = null;
                string? tag = null;
                var (response, final) = await SendAsync(HttpMethod.Head, address, null, $"{file}", hop =>
                {
                    size ??= long.TryParse(Header(hop, "X-Linked-Size"), out var linked) ? linked : null;
                    tag ??= Header(hop, "X-Linked-ETag");
                }, cancellation);
                using (response)
                {
                    size ??= response.IsSuccessStatusCode ? response.Content.Headers.ContentLength : null;
                    return new HubLocation(final, size, Plain(tag ?? (response.IsSuccessStatusCode ? response.Headers.ETag?.Tag : null)));
                }
            },
            cancellation);
    }

    /// <summary>Begins to fetch the bytes <paramref name="from"/> to <paramref name="to"/>, or all.</summary>
    public async Task<HttpResponseMessage> FetchAsync(
        Uri address, (long From, long To)? range, string what, CancellationToken cancellation)
    {
        var header = range is var (from, to) ? new RangeHeaderValue(from, to) : null;
        return (await SendAsync(HttpMethod.Get, address, header, what, null, cancellation)).Response;
    }

    /// <summary>Reads some bytes of a body; a dropped or silent connection is transient.</summary>
    public static async Task<int> ReadAsync(Stream body, Memory<byte> buffer, string what, CancellationToken cancellation)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(Silence);
        try
        {
            return await body.ReadAsync(buffer, limit.Token);
        }
        catch (Exception e) when (e is IOException or HttpRequestException)
        {
            throw new TransientException($"{what}: the connection was lost before the end", e);
        }
        catch (OperationCanceledException e) when (!cancellation.IsCancellationRequested)
        {
            throw new TransientException($"{what}: the server sent nothing for {Silence.TotalSeconds:0} s", e);
        }
    }

    private static string? Plain(string? tag) =>
        tag?.StartsWith("W/", StringComparison.Ordinal) == true ? tag[2..].Trim('"') : tag?.Trim('"');

    private static string? Header(HttpResponseMessage response, string name) =>
        response.Headers.TryGetValues(name, out var values) || response.Content.Headers.TryGetValues(name, out values)
            ? values.First() : null;

    private bool IsHub(Uri address) =>
        Uri.Compare(address, endpoint, UriComponents.SchemeAndServer, UriFormat.Unescaped, StringComparison.OrdinalIgnoreCase) == 0;

    private static bool IsWeb(Uri address) => address.Scheme == Uri.UriSchemeHttps || address.Scheme == Uri.UriSchemeHttp;

    private async Task<(HttpResponseMessage Response, Uri Address)> SendAsync(
        HttpMethod method, Uri address, RangeHeaderValue? range, string what, Action<HttpResponseMessage>? onHop,
        CancellationToken cancellation)
    {
        for (var redirects = 0; redirects <= MostRedirects; redirects++)
        {
            var toHub = IsHub(address);
            using var request = new HttpRequestMessage(method, address);
            request.Headers.Range = range;
            if (toHub && token is not null)
            {
                request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
            }

            var response = await SendOnceAsync(request, what, cancellation);
            onHop?.Invoke(response);
            if (response.IsSuccessStatusCode)
            {
                return (response, address);
            }

            var isAnswer = false;
            try
            {
                if ((int)response.StatusCode is not (301 or 302 or 303 or 307 or 308) || response.Headers.Location is not { } location)
                {
                    throw FailureOf(response, toHub, what);
                }

                if (!Uri.TryCreate(address, location, out var next))
                {
                    throw new StableDiffusionException($"{what}: the server redirects to '{location}', which is not an address");
                }

                if (!IsWeb(next) || (address.Scheme == Uri.UriSchemeHttps && next.Scheme != Uri.UriSchemeHttps))
                {
                    throw new StableDiffusionException(
                        $"{what}: the server redirects to '{next.GetLeftPart(UriPartial.Authority)}', which is not safe");
                }

                address = next;
                if (method == HttpMethod.Head && !IsHub(next))
                {
                    isAnswer = true;
                    return (response, next);
                }
            }
            finally
            {
                if (!isAnswer)
                {
                    response.Dispose();
                }
            }
        }

        throw new StableDiffusionException($"{what}: more than {MostRedirects} redirects");
    }

    private async Task<HttpResponseMessage> SendOnceAsync(HttpRequestMessage request, string what, CancellationToken cancellation)
    {
        var host = request.RequestUri!.Authority;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(Silence);
        try
        {
            return await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, limit.Token);
        }
        catch (OperationCanceledException e) when (!cancellation.IsCancellationRequested)
        {
            throw new TransientException($"{what}: no answer from {host}", e);
        }
        catch (HttpRequestException e)
        {
            throw e.HttpRequestError switch
            {
                HttpRequestError.NameResolutionError => new StableDiffusionException($"{what}: the name {host} cannot be resolved", e),
                HttpRequestError.SecureConnectionError =>
                    new StableDiffusionException($"{what}: no secure connection to {host}: {(e.InnerException ?? e).Message}", e),
                HttpRequestError.ProxyTunnelError => new StableDiffusionException($"{what}: the proxy does not let through to {host}", e),
                HttpRequestError.ConnectionError => new TransientException($"{what}: no connection to {host}", e),
                _ => new TransientException($"{what}: the connection to {host} was lost", e),
            };
        }
    }

    private Exception FailureOf(HttpResponseMessage response, bool fromHub, string what)
    {
        var status = (int)response.StatusCode;
        var code = Header(response, "X-Error-Code");
        var page = $"{endpoint}{what[HubReference.Prefix.Length..].Split('@', ':')[0]}";
        return status switch
        {
            // Addresses behind the hub's redirects carry a signature that ages; a new one is asked for with the next try.
            401 or 403 when !fromHub => new TransientException($"{what}: access denied behind the hub's redirect ({status})"),
            401 when token is null => new StableDiffusionException(
                $"{what}: access denied (401): there is no such public repository, "
                + $"or it needs a token (set HF_TOKEN) and its licence accepted on {page}"),
            401 => new StableDiffusionException(
                $"{what}: access denied (401): the token was not accepted, or it does not reach this repository"),
            403 => new StableDiffusionException(
                $"{what}: access denied (403): accept the licence on {page}, and set HF_TOKEN to a token of that account"),
            404 when code == "RevisionNotFound" => new StableDiffusionException($"{what}: not found (404): there is no such revision"),
            404 => new StableDiffusionException($"{what}: not found (404)"),
            429 => new TransientException($"{what}: too many requests (429)", null, RetryAfter(response)),
            408 or >= 500 => new TransientException(
                $"{what}: the server failed ({status} {response.ReasonPhrase})", null, RetryAfter(response)),
            416 => new StableDiffusionException($"{what}: the server's file is shorter than it says (416)"),
            _ => new StableDiffusionException($"{what}: the server answered {status} {response.ReasonPhrase}"),
        };
    }

    private static TimeSpan? RetryAfter(HttpResponseMessage response)
    {
        var wait = response.Headers.RetryAfter?.Delta ?? response.Headers.RetryAfter?.Date - DateTimeOffset.UtcNow;
        return wait < TimeSpan.Zero ? TimeSpan.Zero : wait;
    }

    private static async Task<byte[]> ReadAllAsync(HttpResponseMessage response, string what, CancellationToken cancellation)
    {
        using var body = await response.Content.ReadAsStreamAsync(cancellation);
        using var all = new MemoryStream();
        var buffer = new byte[1 << 16];
        while (await ReadAsync(body, buffer, what, cancellation) is var read and > 0)
        {
            all.Write(buffer, 0, read);
            if (all.Length > MostListingBytes)
            {
                throw new StableDiffusionException($"{what}: the hub's list of files is longer than {MostListingBytes >> 20} MiB");
            }
        }

        return all.ToArray();
    }
}
